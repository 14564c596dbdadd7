//! What can go wrong in every operation alike.

use hanse_log::AppendError;
use hanse_runtime::PoolError;
use hanse_store::StoreError;

/// The operation could not be done now; every operation's error has this as a variant.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// The archives could not be read, or a row of them is corrupt.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// The decision was not written, or it is not known whether it was
    /// ([`AppendError::SlotLost`]).
    #[error("the decision was not written")]
    Append(#[from] AppendError),
    /// Too many passwords are being hashed; worth a retry later.
    #[error("the password could not be hashed now")]
    Pool(#[from] PoolError),
    /// A fault in our code or configuration: Argon2 refused its input.
    #[error("the password could not be hashed: {reason}")]
    Hash {
        /// What Argon2 says.
        reason: String,
    },
}

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
