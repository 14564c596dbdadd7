//! Making events: from what a client wants to a signed PDU.

use ruma::{
    CanonicalJsonError, CanonicalJsonObject, CanonicalJsonValue, OwnedEventId, OwnedUserId,
    canonical_json::to_canonical_value,
    events::{StateEventType, TimelineEventType},
    room_version_rules::RoomVersionRules,
};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue as RawJsonValue, to_raw_value};

mod build;

pub use self::build::{BuildError, Placement, build, build_create};
use crate::auth::{AuthTypesError, auth_types};

/// An event before it has a place in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// Who sends it. Its server is the one that signs.
    pub sender: OwnedUserId,
    /// The type, as the client wrote it.
    pub event_type: String,
    /// Present exactly on state events.
    pub state_key: Option<String>,
    /// The content.
    pub content: CanonicalJsonObject,
    /// The event to redact; put where the room version wants it.
    pub redacts: Option<OwnedEventId>,
}

/// A typed content that is no JSON object, or not canonical.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// Canonical JSON cannot say it.
    #[error("content is not canonical JSON")]
    NotCanonical(#[from] CanonicalJsonError),
    /// It is no object.
    #[error("content is not an object")]
    NotAnObject,
}

/// Turns a content of ruma's, or any other, into canonical JSON.
pub fn content_of(content: &impl Serialize) -> Result<CanonicalJsonObject, ContentError> {
    match to_canonical_value(content)? {
        CanonicalJsonValue::Object(object) => Ok(object),
        _ => Err(ContentError::NotAnObject),
    }
}

impl Draft {
    /// A message event.
    pub fn message(
        sender: OwnedUserId,
        event_type: impl Into<String>,
        content: CanonicalJsonObject,
    ) -> Self {
        Self {
            sender,
            event_type: event_type.into(),
            state_key: None,
            content,
            redacts: None,
        }
    }

    /// A state event.
    pub fn state(
        sender: OwnedUserId,
        event_type: impl Into<String>,
        state_key: impl Into<String>,
        content: CanonicalJsonObject,
    ) -> Self {
        let state_key = Some(state_key.into());
        Self {
            sender,
            event_type: event_type.into(),
            state_key,
            content,
            redacts: None,
        }
    }

    /// An `m.room.redaction`.
    pub fn redaction(sender: OwnedUserId, redacts: OwnedEventId, reason: Option<String>) -> Self {
        let content = reason.map(|reason| ("reason".to_owned(), reason.into()));
        let content = content.into_iter().collect();
        let redacts = Some(redacts);
        Self {
            sender,
            event_type: "m.room.redaction".into(),
            state_key: None,
            content,
            redacts,
        }
    }

    /// Which state authorises this event, by the auth events selection algorithm: what the
    /// caller looks up for [`Placement::auth_events`].
    pub fn auth_types(
        &self,
        rules: &RoomVersionRules,
    ) -> Result<Vec<(StateEventType, String)>, AuthTypesError> {
        let event_type = TimelineEventType::from(self.event_type.as_str());
        // Only memberships are authorised by what they say.
        let content = match event_type {
            TimelineEventType::RoomMember => to_raw_value(&self.content),
            _ => RawJsonValue::from_string("{}".to_owned()),
        };
        let content = content.map_err(|error| AuthTypesError {
            reason: error.to_string(),
        })?;
        auth_types(
            &event_type,
            &self.sender,
            self.state_key.as_deref(),
            &content,
            rules,
        )
    }
}

#[cfg(test)]
mod tests;
