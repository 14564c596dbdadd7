//! What the room domain refuses, and what store and log cannot do.

use std::time::Duration;

use hanse_log::AppendError;
use hanse_room::RoomError;
use hanse_store::StoreError;
use http::StatusCode;
use ruma::api::error::ErrorKind;

use super::ApiError;

/// How long a client waits when a slot is overloaded.
const BUSY: Duration = Duration::from_secs(1);

impl From<RoomError> for ApiError {
    fn from(error: RoomError) -> Self {
        match error {
            // Whoever is not in a room learns nothing of it, not even whether it exists.
            RoomError::UnknownRoom { .. } => Self::forbidden("you are not in this room"),
            RoomError::UnknownEvent { .. } => Self::not_found("there is no such event"),
            RoomError::Forbidden { reason } => Self::forbidden(reason),
            RoomError::BadContent { reason } => Self::bad_request(ErrorKind::BadJson, reason),
            RoomError::TooLarge { reason } => Self::too_large(reason),
            RoomError::UnsupportedVersion(error) => {
                Self::bad_request(ErrorKind::UnsupportedRoomVersion, error.to_string())
            }
            RoomError::Append(error) => error.into(),
            RoomError::Store(error) => error.into(),
        }
    }
}

impl From<AppendError> for ApiError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::SlotLost { .. } | AppendError::Stale => {
                Self::unavailable("try again: the server is moving data")
            }
            AppendError::Overloaded { .. } => {
                Self::limit_exceeded(BUSY, "too many changes at once")
            }
            AppendError::TooLarge { .. } => Self::too_large(error.to_string()),
            AppendError::Store(error) => store(&error),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        store(&error)
    }
}

fn store(error: &StoreError) -> ApiError {
    match error {
        StoreError::Full => {
            let text = "the server has no disk space left";
            ApiError::new(StatusCode::INSUFFICIENT_STORAGE, ErrorKind::Unknown, text)
        }
        StoreError::Unavailable { .. } | StoreError::Unknown { .. } => {
            tracing::warn!(%error, "the store is unavailable");
            ApiError::unavailable("the store is unavailable")
        }
        StoreError::TooLarge { .. } => ApiError::too_large(error.to_string()),
        StoreError::Misuse { .. } | StoreError::Corrupt { .. } => ApiError::internal(error),
    }
}
