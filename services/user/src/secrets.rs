//! Opaque secrets: what clients hold, and what is stored of it.

use std::fmt;

use bytes::Bytes;
use hanse_runtime::Random;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Longest secret that is looked at, in bytes; ours are shorter.
const SECRET_BYTES_MAX: usize = 128;

/// What a secret is for; its prefix makes leaked ones easy to find by scanners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecretKind {
    Access,
    Refresh,
    Login,
    OpenId,
}

impl SecretKind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Access => "hsa_",
            Self::Refresh => "hsr_",
            Self::Login => "hsl_",
            Self::OpenId => "hso_",
        }
    }

    /// A new secret of 190 random bits.
    pub(crate) fn draw(self, random: &dyn Random) -> String {
        format!("{}{}", self.prefix(), random.token())
    }

    /// The hash under which a presented secret would be stored; `None` if it cannot be one of ours.
    pub(crate) fn hash(self, secret: &str) -> Option<TokenHash> {
        let ours = secret.len() <= SECRET_BYTES_MAX && secret.starts_with(self.prefix());
        ours.then(|| TokenHash::of(secret))
    }
}

/// The SHA-256 hash of a token: all that is stored of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Hashes a token.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// From its stored form; `None` if it has not 32 bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(crate) fn bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.0)
    }

    pub(crate) fn to_vec(self) -> Vec<u8> {
        self.0.to_vec()
    }

    /// Lower-case hexadecimal.
    pub(crate) fn hex(&self) -> String {
        let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or_default();
        let digits = self
            .0
            .iter()
            .flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]);
        digits.collect()
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second, ..] = self.0;
        write!(f, "TokenHash({first:02x}{second:02x}…)")
    }
}

#[cfg(test)]
mod tests {
    use hanse_runtime::SeededRandom;

    use super::*;

    #[test]
    fn a_secret_is_recognised_by_its_kind_alone() {
        let secret = SecretKind::Access.draw(&SeededRandom::new(1));
        assert_eq!(secret.len(), 4 + 32);
        assert_eq!(
            SecretKind::Access.hash(&secret),
            Some(TokenHash::of(&secret))
        );
        assert_eq!(SecretKind::Refresh.hash(&secret), None);
        assert_eq!(
            SecretKind::Access.hash(&format!("hsa_{}", "x".repeat(200))),
            None
        );
    }

    #[test]
    fn the_hash_is_sha_256() {
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(TokenHash::of("abc").hex(), hex);
    }
}
