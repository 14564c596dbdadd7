//! What can go wrong when a room is changed.

use hanse_cluster::{
    Refusal,
    travelling::{append_error, store_error},
};
use hanse_event::{AuthRejected, BuildError, room_version::UnsupportedRoomVersion};
use hanse_log::AppendError;
use hanse_store::StoreError;
use ruma::{OwnedEventId, OwnedRoomId};
use serde::{Deserialize, Serialize};

/// Why a change to a room did not happen. Comes from the room's owner as it is: kinds are added, and
/// keep their names.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum RoomError {
    /// We are not in this room, or it does not exist.
    #[error("room {room_id} is not known here")]
    UnknownRoom {
        /// The room.
        room_id: OwnedRoomId,
    },
    /// The event is not in this room.
    #[error("event {event_id} is not known in this room")]
    UnknownEvent {
        /// The event.
        event_id: OwnedEventId,
    },
    /// The room's rules refuse it.
    #[error("{reason}")]
    Forbidden {
        /// The rule; fit for a client.
        reason: String,
    },
    /// The content cannot be an event's.
    #[error("{reason}")]
    BadContent {
        /// What is wrong; fit for a client.
        reason: String,
    },
    /// The event, or all events of a new room together, are too large.
    #[error("{reason}")]
    TooLarge {
        /// Size and bound; fit for a client.
        reason: String,
    },
    /// No such room version here.
    #[error(transparent)]
    UnsupportedVersion(#[from] UnsupportedRoomVersion),
    /// The slot's log did not take it.
    #[error(transparent)]
    #[serde(with = "append_error")]
    Append(#[from] AppendError),
    /// The archives could not be read.
    #[error("the archives cannot be read")]
    #[serde(with = "store_error")]
    Store(#[from] StoreError),
}

impl Refusal for RoomError {
    fn append(&self) -> Option<&AppendError> {
        match self {
            Self::Append(error) => Some(error),
            _ => None,
        }
    }
}

impl RoomError {
    pub(crate) fn forbidden(reason: impl Into<String>) -> Self {
        Self::Forbidden {
            reason: reason.into(),
        }
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "taken as `map_err` hands it over"
    )]
    pub(crate) fn bad_content(reason: impl ToString) -> Self {
        Self::BadContent {
            reason: reason.to_string(),
        }
    }
}

impl From<AuthRejected> for RoomError {
    fn from(rejected: AuthRejected) -> Self {
        Self::Forbidden {
            reason: rejected.reason,
        }
    }
}

impl From<BuildError> for RoomError {
    fn from(error: BuildError) -> Self {
        let reason = error.to_string();
        if error.is_too_large() {
            Self::TooLarge { reason }
        } else {
            Self::BadContent { reason }
        }
    }
}
