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
            AppendError::SlotLost { .. } | AppendError::NotServed { .. } | AppendError::Stale => {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hanse_log::SlotMap;
    use ruma::{owned_event_id, owned_room_id};

    use super::*;
    use crate::error::tests::check_kind;

    #[test]
    fn refusals_have_the_specifications_codes() {
        let reason = || "x".to_owned();
        let (room_id, event_id) = (owned_room_id!("!r:x"), owned_event_id!("$e"));
        check_kind(RoomError::UnknownRoom { room_id }, 403, "M_FORBIDDEN");
        check_kind(RoomError::UnknownEvent { event_id }, 404, "M_NOT_FOUND");
        check_kind(
            RoomError::Forbidden { reason: reason() },
            403,
            "M_FORBIDDEN",
        );
        check_kind(
            RoomError::BadContent { reason: reason() },
            400,
            "M_BAD_JSON",
        );
        check_kind(RoomError::TooLarge { reason: reason() }, 413, "M_TOO_LARGE");
        let version = "999".try_into().unwrap();
        let unsupported = hanse_event::room_version::UnsupportedRoomVersion { version };
        check_kind(
            RoomError::from(unsupported),
            400,
            "M_UNSUPPORTED_ROOM_VERSION",
        );
    }

    /// What the log and the store cannot do now is never 500: only faults of ours are.
    #[test]
    fn what_cannot_be_done_now_says_so() {
        let slot = SlotMap::initial(1).slot_of("x");
        check_kind(AppendError::SlotLost { slot }, 503, "M_UNKNOWN");
        check_kind(AppendError::NotServed { slot }, 503, "M_UNKNOWN");
        check_kind(AppendError::Stale, 503, "M_UNKNOWN");
        check_kind(AppendError::Overloaded { slot }, 429, "M_LIMIT_EXCEEDED");
        check_kind(
            AppendError::TooLarge {
                bytes: 2,
                bytes_max: 1,
            },
            413,
            "M_TOO_LARGE",
        );
        check_kind(
            AppendError::Store(Arc::new(StoreError::Full)),
            507,
            "M_UNKNOWN",
        );
        let source = || Box::new(std::fmt::Error);
        check_kind(
            StoreError::Unavailable { source: source() },
            503,
            "M_UNKNOWN",
        );
        check_kind(
            StoreError::Unknown {
                table: "t",
                source: source(),
            },
            503,
            "M_UNKNOWN",
        );
        let corrupt = StoreError::Corrupt {
            table: "t",
            reason: "x".to_owned(),
        };
        check_kind(corrupt, 500, "M_UNKNOWN");
    }
}
