//! The ed25519 key a server signs events and requests with.

use std::fmt;

use ruma::{
    CanonicalJsonObject, ServerName,
    room_version_rules::RedactionRules,
    serde::{Base64, base64::Standard},
    signatures::{Ed25519KeyPair, JsonError, sign_event, sign_json},
};

/// Bytes of an ed25519 seed.
pub const SEED_BYTES: usize = 32;

/// What precedes the seed in a PKCS#8 version 1 document of an ed25519 key (RFC 8410).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// A signing key with its name. `Debug` shows the public half only.
pub struct ServerKey {
    pair: Ed25519KeyPair,
    seed: [u8; SEED_BYTES],
    key_id: String,
}

/// A signing key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ServerKeyError {
    /// The text is not `ed25519 <name> <base64 of 32 bytes>`.
    #[error("expected `ed25519 <name> <base64 of 32 bytes>`")]
    Format,
    /// Names are 1 to 64 of `a-z A-Z 0-9 _`.
    #[error("the key's name must be 1 to 64 letters, digits or underscores")]
    Name,
    /// The key was refused by the signature library.
    #[error("unusable ed25519 key: {reason}")]
    Unusable {
        /// The library's words.
        reason: String,
    },
}

impl ServerKey {
    /// Makes a key from 32 random bytes; its id is `ed25519:<name>`.
    pub fn generate(seed: [u8; SEED_BYTES], name: &str) -> Result<Self, ServerKeyError> {
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || name.len() > 64 || !name.chars().all(valid) {
            return Err(ServerKeyError::Name);
        }
        let document = [PKCS8_PREFIX.as_slice(), seed.as_slice()].concat();
        let pair = Ed25519KeyPair::from_der(&document, name.to_owned()).map_err(|error| {
            ServerKeyError::Unusable {
                reason: error.to_string(),
            }
        })?;
        Ok(Self {
            pair,
            seed,
            key_id: format!("ed25519:{name}"),
        })
    }

    /// Reads what [`ServerKey::to_stored`] wrote (also the format of Synapse's key file).
    pub fn from_stored(text: &str) -> Result<Self, ServerKeyError> {
        let mut parts = text.split_whitespace();
        let (Some("ed25519"), Some(name), Some(seed), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(ServerKeyError::Format);
        };
        let seed = Base64::<Standard, [u8; SEED_BYTES]>::parse(seed)
            .map_err(|_| ServerKeyError::Format)?;
        Self::generate(seed.into_inner(), name)
    }

    /// `ed25519 <name> <base64 of the seed>`: a secret.
    pub fn to_stored(&self) -> String {
        let seed = Base64::<Standard, _>::new(self.seed);
        format!("ed25519 {} {}", self.pair.version(), seed.encode())
    }

    /// `ed25519:<name>`.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The public half, as published under `/_matrix/key/v2/server`.
    pub fn public_key(&self) -> Base64 {
        Base64::new(self.pair.public_key().to_vec())
    }

    /// Adds this server's signature to an event whose content hash is already there.
    pub(crate) fn sign_event(
        &self,
        server: &ServerName,
        event: &mut CanonicalJsonObject,
        rules: &RedactionRules,
    ) -> Result<(), JsonError> {
        sign_event(server.as_str(), &self.pair, event, rules)
    }

    /// Signs any JSON object (server keys, federation requests); fails if `signatures` is there
    /// but no object.
    pub fn sign_json(
        &self,
        server: &ServerName,
        object: &mut CanonicalJsonObject,
    ) -> Result<(), JsonError> {
        sign_json(server.as_str(), &self.pair, object)
    }
}

impl fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerKey")
            .field("key_id", &self.key_id)
            .field("public_key", &self.public_key())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seed and signatures of the specification's appendix "Cryptographic Test Vectors".
    const SPEC_KEY: &str = "ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1";

    #[test]
    fn signs_the_empty_object_of_the_spec() {
        let key = ServerKey::from_stored(SPEC_KEY).unwrap();
        let mut object = CanonicalJsonObject::new();
        key.sign_json("domain".try_into().unwrap(), &mut object)
            .unwrap();
        let text = serde_json::to_string(&object).unwrap();
        assert!(text.contains("K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"), "{text}");
    }

    #[test]
    fn stored_text_round_trips() {
        let key = ServerKey::generate([7; 32], "a_AbCd").unwrap();
        let again = ServerKey::from_stored(&key.to_stored()).unwrap();
        assert_eq!(again.key_id(), "ed25519:a_AbCd");
        assert_eq!(again.public_key(), key.public_key());
    }

    #[test]
    fn refuses_malformed_text_and_names() {
        for text in [
            "",
            "ed25519 a",
            "rsa a AAAA",
            "ed25519 a AAAA",
            "ed25519 a b c d",
        ] {
            assert!(ServerKey::from_stored(text).is_err(), "{text}");
        }
        for name in ["", "a:b", "a b", &"x".repeat(65)] {
            assert!(matches!(
                ServerKey::generate([0; 32], name),
                Err(ServerKeyError::Name)
            ));
        }
    }

    #[test]
    fn debug_hides_the_seed() {
        let key = ServerKey::generate([7; 32], "a").unwrap();
        let secret = key.to_stored();
        let seed = secret.rsplit(' ').next().unwrap();
        assert!(!format!("{key:?}").contains(seed));
    }
}
