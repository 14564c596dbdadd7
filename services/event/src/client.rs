//! Events as clients see them ([spec]). The content's text is copied, never parsed.
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#room-event-format

use ruma::{
    EventId, Int, MilliSecondsSinceUnixEpoch, RoomId, TransactionId, UserId,
    events::{
        AnyStateEvent, AnyStrippedStateEvent, AnySyncStateEvent, AnySyncTimelineEvent,
        AnyTimelineEvent, room::member::MembershipState,
    },
    serde::Raw,
};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue as RawJsonValue, to_raw_value};

use crate::pdu::Pdu;

/// What a server tells a client about an event beside the event. All of it is optional.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Unsigned<'a> {
    /// Milliseconds since the event was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<Int>,
    /// The reader's membership at the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub membership: Option<MembershipState>,
    /// The content of the state event that this one replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_content: Option<&'a RawJsonValue>,
    /// The sender of the state event that this one replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_sender: Option<&'a UserId>,
    /// The redaction; if absent, what [`crate::redact`] left in the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redacted_because: Option<&'a RawJsonValue>,
    /// Aggregated relations.
    #[serde(rename = "m.relations", skip_serializing_if = "Option::is_none")]
    pub relations: Option<&'a RawJsonValue>,
    /// The id of the state event that this one replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces_state: Option<&'a EventId>,
    /// The transaction id: for the device that sent the event, and no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<&'a TransactionId>,
}

impl<'a> Unsigned<'a> {
    /// Fills in the state event that was replaced.
    #[must_use]
    pub fn replacing(mut self, previous: Option<&'a Pdu>) -> Self {
        self.prev_content = previous.map(Pdu::content);
        self.prev_sender = previous.map(Pdu::sender);
        self.replaces_state = previous.map(Pdu::event_id);
        self
    }

    fn is_empty(&self) -> bool {
        matches!(
            self,
            Self {
                age: None,
                membership: None,
                prev_content: None,
                prev_sender: None,
                redacted_because: None,
                relations: None,
                replaces_state: None,
                transaction_id: None,
            }
        )
    }
}

/// Whether a client's event names its room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoomIdField {
    /// Everywhere but in `/sync`.
    Shown,
    /// In `/sync`, where the room is around the event.
    Left,
}

#[derive(Serialize)]
struct ClientEvent<'a> {
    content: &'a RawJsonValue,
    event_id: &'a EventId,
    origin_server_ts: MilliSecondsSinceUnixEpoch,
    #[serde(skip_serializing_if = "Option::is_none")]
    redacts: Option<&'a EventId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_id: Option<&'a RoomId>,
    sender: &'a UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_key: Option<&'a str>,
    #[serde(rename = "type")]
    event_type: &'a str,
    #[serde(skip_serializing_if = "Unsigned::is_empty")]
    unsigned: Unsigned<'a>,
}

#[derive(Serialize)]
struct StrippedEvent<'a> {
    content: &'a RawJsonValue,
    sender: &'a UserId,
    state_key: &'a str,
    #[serde(rename = "type")]
    event_type: &'a str,
}

/// An event of a timeline in `/sync`.
pub fn sync_timeline_event(pdu: &Pdu, unsigned: &Unsigned<'_>) -> Raw<AnySyncTimelineEvent> {
    client_event(pdu, RoomIdField::Left, unsigned)
}

/// An event of the state in `/sync`.
pub fn sync_state_event(pdu: &Pdu, unsigned: &Unsigned<'_>) -> Raw<AnySyncStateEvent> {
    client_event(pdu, RoomIdField::Left, unsigned)
}

/// An event outside of `/sync`: `/messages`, `/context`, `/event`.
pub fn timeline_event(pdu: &Pdu, unsigned: &Unsigned<'_>) -> Raw<AnyTimelineEvent> {
    client_event(pdu, RoomIdField::Shown, unsigned)
}

/// A state event outside of `/sync`: `/state`, `/members`.
pub fn state_event(pdu: &Pdu, unsigned: &Unsigned<'_>) -> Raw<AnyStateEvent> {
    client_event(pdu, RoomIdField::Shown, unsigned)
}

/// A state event as those see it who are not in the room yet. `None` for a message event.
pub fn stripped_state_event(pdu: &Pdu) -> Option<Raw<AnyStrippedStateEvent>> {
    let event = StrippedEvent {
        content: pdu.content(),
        sender: pdu.sender(),
        state_key: pdu.state_key()?,
        event_type: pdu.type_name(),
    };
    Some(Raw::from_json(written(&event)))
}

/// An event as any of ruma's types of client events. The other functions name the right ones.
pub fn client_event<T>(pdu: &Pdu, room_id: RoomIdField, unsigned: &Unsigned<'_>) -> Raw<T> {
    let mut unsigned = unsigned.clone();
    let left_behind = pdu.unsigned().and_then(redacted_because);
    unsigned.redacted_because = unsigned.redacted_because.or(left_behind);
    Raw::from_json(event_json(pdu, room_id, unsigned))
}

/// The event by itself: nothing from its `unsigned`, so that redactions do not nest.
pub(crate) fn bare_event(pdu: &Pdu) -> Box<RawJsonValue> {
    event_json(pdu, RoomIdField::Shown, Unsigned::default())
}

fn event_json(pdu: &Pdu, room_id: RoomIdField, unsigned: Unsigned<'_>) -> Box<RawJsonValue> {
    let (top, in_content) = pdu.redacts_anywhere();
    let content = match (top, in_content) {
        (Some(id), None) => Some(with_redacts(pdu.content(), id)),
        _ => None,
    };
    written(&ClientEvent {
        content: content.as_deref().unwrap_or_else(|| pdu.content()),
        event_id: pdu.event_id(),
        origin_server_ts: pdu.origin_server_ts(),
        redacts: top.or(in_content),
        room_id: (room_id == RoomIdField::Shown).then(|| pdu.room_id()),
        sender: pdu.sender(),
        state_key: pdu.state_key(),
        event_type: pdu.type_name(),
        unsigned,
    })
}

/// `null` cannot come of this: strings, numbers and ready JSON can always be written.
fn written(value: &impl Serialize) -> Box<RawJsonValue> {
    to_raw_value(value).unwrap_or_else(|_| RawJsonValue::NULL.to_owned())
}

fn redacted_because(unsigned: &RawJsonValue) -> Option<&RawJsonValue> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        redacted_because: Option<&'a RawJsonValue>,
    }
    serde_json::from_str::<Fields<'_>>(unsigned.get())
        .ok()?
        .redacted_because
}

/// Newer clients look for `redacts` in the content in every room version ([spec]); older ones at
/// the top level. Where an event has both, each room version's place is left as it is.
///
/// [spec]: https://spec.matrix.org/v1.16/client-server-api/#mroomredaction
fn with_redacts(content: &RawJsonValue, id: &EventId) -> Box<RawJsonValue> {
    let mut fields: ruma::CanonicalJsonObject =
        serde_json::from_str(content.get()).unwrap_or_default();
    fields.insert("redacts".to_owned(), id.as_str().to_owned().into());
    written(&fields)
}

#[cfg(test)]
mod tests;
