//! Why a sync request has no answer.

use hanse_store::StoreError;
use hanse_user::Unavailable;

use crate::token::BadToken;

/// The failure of a request.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// `since` is not a token of this user (`M_INVALID_PARAM`).
    #[error(transparent)]
    BadToken(#[from] BadToken),
    /// No such filter of this user (`M_INVALID_PARAM`).
    #[error("filter {id} is not known")]
    UnknownFilter {
        /// Its id.
        id: String,
    },
    /// A worker in another process refused what the client sent (`M_INVALID_PARAM`).
    #[error("{reason}")]
    Refused {
        /// Why, for the client.
        reason: String,
    },
    /// Too many clients wait on the worker.
    #[error("too many clients wait")]
    Full,
    /// No worker answered.
    #[error("no answer: {reason}")]
    Unanswered {
        /// Why, for people.
        reason: String,
    },
    /// The archives cannot be read.
    #[error("the archives cannot be read")]
    Store(#[from] StoreError),
    /// The user's data cannot be read.
    #[error(transparent)]
    User(#[from] Unavailable),
}
