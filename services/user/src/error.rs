//! What can go wrong in every operation alike.

use hanse_cluster::{
    Refusal,
    travelling::{append_error, store_error},
};
use hanse_log::AppendError;
use hanse_runtime::PoolError;
use hanse_store::StoreError;
use serde::{Deserialize, Serialize};

/// The operation could not be done now; every operation's error has this as a variant.
///
/// The errors of commands come from the key's owner as they are: kinds are added, and keep their names.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum Unavailable {
    /// The archives could not be read, or a row of them is corrupt.
    #[error("the store failed")]
    #[serde(with = "store_error")]
    Store(#[from] StoreError),
    /// The decision was not written, or it is not known whether it was
    /// ([`AppendError::SlotLost`]).
    #[error("the decision was not written")]
    #[serde(with = "append_error")]
    Append(#[from] AppendError),
    /// Too many passwords are being hashed; worth a retry later. They are hashed where they come in,
    /// so that this does not travel.
    #[error("the password could not be hashed now")]
    #[serde(skip)]
    Pool(#[from] PoolError),
    /// A fault in our code or configuration: Argon2 refused its input.
    #[error("the password could not be hashed: {reason}")]
    Hash {
        /// What Argon2 says.
        reason: String,
    },
}

impl Refusal for Unavailable {
    fn append(&self) -> Option<&AppendError> {
        match self {
            Self::Append(error) => Some(error),
            _ => None,
        }
    }
}

/// Makes errors with a variant [`Unavailable`] those of commands.
macro_rules! refusals {
    ($($error:ty),+ $(,)?) => {$(
        impl From<hanse_log::AppendError> for $error {
            fn from(error: hanse_log::AppendError) -> Self {
                Self::Unavailable(error.into())
            }
        }

        impl hanse_cluster::Refusal for $error {
            fn append(&self) -> Option<&hanse_log::AppendError> {
                match self {
                    Self::Unavailable(unavailable) => unavailable.append(),
                    _ => None,
                }
            }
        }
    )+};
}
pub(crate) use refusals;

/// Lets `?` take what the parts of an operation return into the operation's error.
macro_rules! from_unavailable {
    ($($error:ty),+ $(,)?) => {$(
        impl From<hanse_store::StoreError> for $error {
            fn from(error: hanse_store::StoreError) -> Self {
                Self::Unavailable(error.into())
            }
        }
    )+};
}
pub(crate) use from_unavailable;
