//! Hashing passwords: Argon2id, off the async threads, bounded, as dear for a name that does not
//! exist as for one that does.

use std::sync::Arc;

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use hanse_runtime::{BlockingPool, Random};
use serde::{Deserialize, Serialize};

use crate::{ConfigError, Unavailable, UserConfig};

/// Longest password, in bytes: hashing more only helps who wants to keep us busy.
pub const PASSWORD_BYTES_MAX: usize = 512;
/// Bytes of a salt.
const SALT_BYTES: usize = 16;

/// Why a password is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum PasswordRefused {
    /// It has too few characters.
    #[error("the password has {chars} characters, at least {chars_min} are required")]
    TooShort {
        /// What it has.
        chars: usize,
        /// What it needs.
        chars_min: usize,
    },
    /// It has too many bytes.
    #[error("the password has {bytes} bytes, at most {bytes_max} are allowed")]
    TooLong {
        /// What it has.
        bytes: usize,
        /// [`PASSWORD_BYTES_MAX`].
        bytes_max: usize,
    },
}

pub(crate) struct Hasher {
    argon2: Argon2<'static>,
    chars_min: usize,
    /// A well-formed hash of the same cost that no password has.
    decoy: String,
    pool: BlockingPool,
    random: Arc<dyn Random>,
}

impl Hasher {
    pub(crate) fn new(
        config: &UserConfig,
        pool: BlockingPool,
        random: Arc<dyn Random>,
    ) -> Result<Self, ConfigError> {
        let (memory_kib, iterations) = (config.argon2_memory_kib, config.argon2_iterations);
        let params =
            Params::new(memory_kib, iterations, 1, None).map_err(|error| ConfigError::Argon2 {
                memory_kib,
                iterations,
                reason: error.to_string(),
            })?;
        Ok(Self {
            argon2: Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
            chars_min: config.password_chars_min.max(1),
            decoy: decoy(memory_kib, iterations),
            pool,
            random,
        })
    }

    /// Whether a new password is taken.
    pub(crate) fn check(&self, password: &str) -> Result<(), PasswordRefused> {
        let (chars, chars_min) = (password.chars().count(), self.chars_min);
        if chars < chars_min {
            return Err(PasswordRefused::TooShort { chars, chars_min });
        }
        if password.len() > PASSWORD_BYTES_MAX {
            let bytes = password.len();
            return Err(PasswordRefused::TooLong {
                bytes,
                bytes_max: PASSWORD_BYTES_MAX,
            });
        }
        Ok(())
    }

    /// The PHC string of a new password.
    pub(crate) async fn hash(&self, password: String) -> Result<String, Unavailable> {
        let mut salt = [0; SALT_BYTES];
        self.random.fill(&mut salt);
        let argon2 = self.argon2.clone();
        let hash = move || -> Result<String, String> {
            let hashed = argon2.hash_password_with_salt(password.as_bytes(), &salt);
            hashed
                .map(|hash: PasswordHash| hash.to_string())
                .map_err(|error| error.to_string())
        };
        self.pool
            .run(hash)
            .await?
            .map_err(|reason| Unavailable::Hash { reason })
    }

    /// Whether the password has this hash. Without one it takes as long, and it has not.
    pub(crate) async fn verify(
        &self,
        password: String,
        phc: Option<String>,
    ) -> Result<bool, Unavailable> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Ok(false);
        }
        let known = phc.is_some();
        let phc = phc.unwrap_or_else(|| self.decoy.clone());
        let argon2 = self.argon2.clone();
        let verify = move || -> Result<bool, String> {
            let hash = PasswordHash::new(&phc).map_err(|error| error.to_string())?;
            Ok(argon2.verify_password(password.as_bytes(), &hash).is_ok())
        };
        let matches = self.pool.run(verify).await?;
        Ok(matches.map_err(|reason| Unavailable::Hash { reason })? && known)
    }
}

fn decoy(memory_kib: u32, iterations: u32) -> String {
    let (salt, hash) = ("A".repeat(22), "A".repeat(43));
    format!("$argon2id$v=19$m={memory_kib},t={iterations},p=1${salt}${hash}")
}

#[cfg(test)]
mod tests {
    use hanse_runtime::{SeededRandom, Tasks};

    use super::*;

    fn hasher() -> Hasher {
        let config = UserConfig {
            argon2_memory_kib: 64,
            argon2_iterations: 1,
            password_chars_min: 3,
            ..UserConfig::default()
        };
        let pool = Tasks::new().blocking_pool("passwords", 1, 8);
        Hasher::new(&config, pool, Arc::new(SeededRandom::new(1))).unwrap()
    }

    #[tokio::test]
    async fn a_password_verifies_and_another_does_not() {
        let hasher = hasher();
        let hash = hasher.hash("wörd".to_owned()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{hash}");
        assert!(
            hasher
                .verify("wörd".to_owned(), Some(hash.clone()))
                .await
                .unwrap()
        );
        assert!(!hasher.verify("word".to_owned(), Some(hash)).await.unwrap());
    }

    #[tokio::test]
    async fn the_decoy_is_a_hash_that_is_computed_and_never_matches() {
        let hasher = hasher();
        assert!(PasswordHash::new(&hasher.decoy).is_ok());
        assert!(!hasher.verify("wörd".to_owned(), None).await.unwrap());
        let broken = hasher
            .verify("wörd".to_owned(), Some("$argon2id$".to_owned()))
            .await;
        assert!(matches!(broken, Err(Unavailable::Hash { .. })));
    }

    #[test]
    fn the_bounds_are_characters_below_and_bytes_above() {
        let hasher = hasher();
        assert!(hasher.check("äöü").is_ok());
        assert!(hasher.check(&"x".repeat(512)).is_ok());
        assert_eq!(
            hasher.check("äö"),
            Err(PasswordRefused::TooShort {
                chars: 2,
                chars_min: 3
            })
        );
        assert_eq!(
            hasher.check(&"x".repeat(513)),
            Err(PasswordRefused::TooLong {
                bytes: 513,
                bytes_max: 512
            })
        );
    }
}
