//! An event in the federation format, parsed once and shared.

use std::{borrow::Borrow, fmt, sync::Arc};

use ruma::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId,
    events::{StateEventType, TimelineEventType},
    room_version_rules::RedactionRules,
    state_res,
};
use serde_json::value::RawValue as RawJsonValue;

mod format;
mod parse;
mod receive;

pub use self::{
    format::FormatError,
    parse::PduError,
    receive::{Integrity, ReceiveError, Received, Unverified},
};
pub(crate) use self::{format::check_field_bytes, parse::room_id_of_create};

/// An event in the federation format. Immutable; a clone shares the parsed fields and the text.
#[derive(Clone)]
pub struct Pdu(Arc<Fields>);

/// What [`Pdu`] shares. Built by parsing or by [`crate::build`].
pub(crate) struct Fields {
    pub(crate) event_id: OwnedEventId,
    pub(crate) room_id: OwnedRoomId,
    /// Absent in the JSON of a create event from room version 12 on.
    pub(crate) room_id_in_json: bool,
    pub(crate) sender: OwnedUserId,
    /// As in the JSON: ruma's enum folds some unstable names into one.
    pub(crate) type_name: Box<str>,
    pub(crate) event_type: TimelineEventType,
    pub(crate) state_key: Option<Box<str>>,
    pub(crate) content: Box<RawJsonValue>,
    pub(crate) prev_events: Vec<OwnedEventId>,
    pub(crate) auth_events: Vec<OwnedEventId>,
    pub(crate) depth: u64,
    pub(crate) origin_server_ts: MilliSecondsSinceUnixEpoch,
    pub(crate) redacts: Redacts,
    pub(crate) unsigned: Option<Box<RawJsonValue>>,
    pub(crate) json: Box<str>,
}

/// The two places that name the event which an `m.room.redaction` redacts.
#[derive(Default)]
pub(crate) struct Redacts {
    /// Top level: room versions 1 to 10.
    pub(crate) top: Option<OwnedEventId>,
    /// In `content`: from room version 11 on.
    pub(crate) content: Option<OwnedEventId>,
}

impl Pdu {
    pub(crate) fn from_fields(fields: Fields) -> Self {
        Self(Arc::new(fields))
    }

    /// The event's id.
    pub fn event_id(&self) -> &EventId {
        &self.0.event_id
    }

    /// The room: from the JSON, or (create events from room version 12 on) from the event's id.
    pub fn room_id(&self) -> &RoomId {
        &self.0.room_id
    }

    /// The sender.
    pub fn sender(&self) -> &UserId {
        &self.0.sender
    }

    /// The type as ruma's enum. To compare or print names use [`Pdu::type_name`].
    pub fn event_type(&self) -> &TimelineEventType {
        &self.0.event_type
    }

    /// The type, letter by letter as in the JSON.
    pub fn type_name(&self) -> &str {
        &self.0.type_name
    }

    /// The state key; present exactly on state events.
    pub fn state_key(&self) -> Option<&str> {
        self.0.state_key.as_deref()
    }

    /// Whether this is a state event.
    pub fn is_state(&self) -> bool {
        self.0.state_key.is_some()
    }

    /// The key under which a state event stands in the room's state.
    pub fn state_address(&self) -> Option<(StateEventType, &str)> {
        Some((StateEventType::from(self.type_name()), self.state_key()?))
    }

    /// The content's JSON.
    pub fn content(&self) -> &RawJsonValue {
        &self.0.content
    }

    /// Reads the content as a type of ruma's, or as any other.
    pub fn content_as<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.0.content.get())
    }

    /// The events before this one.
    pub fn prev_events(&self) -> &[OwnedEventId] {
        &self.0.prev_events
    }

    /// The events that authorise this one.
    pub fn auth_events(&self) -> &[OwnedEventId] {
        &self.0.auth_events
    }

    /// The sender's idea of the event's depth in the graph, at most 2^53 - 1.
    pub fn depth(&self) -> u64 {
        self.0.depth
    }

    /// The sender's clock, milliseconds since 1970.
    pub fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        self.0.origin_server_ts
    }

    /// Which event an `m.room.redaction` redacts: top level until room version 10, in `content`
    /// from 11 on. `None` for every other type and for an id that is none.
    pub fn redacts(&self, rules: &RedactionRules) -> Option<&EventId> {
        let redacts = &self.0.redacts;
        let id = if rules.content_field_redacts {
            &redacts.content
        } else {
            &redacts.top
        };
        id.as_deref()
    }

    /// The event that it redacts by either place: for readers who do not know the room's version.
    pub(crate) fn redacts_anywhere(&self) -> (Option<&EventId>, Option<&EventId>) {
        (
            self.0.redacts.top.as_deref(),
            self.0.redacts.content.as_deref(),
        )
    }

    /// The `unsigned` object's JSON.
    pub fn unsigned(&self) -> Option<&RawJsonValue> {
        self.0.unsigned.as_deref()
    }

    /// The whole event as canonical JSON: what is stored and sent to peers.
    pub fn json(&self) -> &str {
        &self.0.json
    }

    /// `content.membership` of an `m.room.member` event, unless it is none of the known values.
    pub fn membership(&self) -> Option<ruma::events::room::member::MembershipState> {
        #[derive(serde::Deserialize)]
        struct Content {
            membership: ruma::events::room::member::MembershipState,
        }
        if *self.event_type() != TimelineEventType::RoomMember {
            return None;
        }
        self.content_as::<Content>()
            .ok()
            .map(|content| content.membership)
    }

    /// Rough size in memory, bytes: for the weight in a cache.
    pub fn weight(&self) -> usize {
        let ids = self.0.prev_events.len() + self.0.auth_events.len();
        size_of::<Fields>() + self.0.json.len() + self.0.content.get().len() + ids * 64
    }
}

impl fmt::Debug for Pdu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pdu")
            .field("event_id", &self.event_id())
            .field("type", &self.type_name())
            .field("state_key", &self.state_key())
            .finish_non_exhaustive()
    }
}

impl PartialEq for Pdu {
    fn eq(&self, other: &Self) -> bool {
        self.event_id() == other.event_id() && self.json() == other.json()
    }
}

impl Eq for Pdu {}

impl state_res::Event for Pdu {
    type Id = OwnedEventId;

    fn event_id(&self) -> &Self::Id {
        &self.0.event_id
    }

    fn room_id(&self) -> Option<&RoomId> {
        // The auth rules of version 12 refuse a create event that names its room.
        self.0.room_id_in_json.then(|| self.0.room_id.borrow())
    }

    fn sender(&self) -> &UserId {
        &self.0.sender
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        self.0.origin_server_ts
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.0.event_type
    }

    fn content(&self) -> &RawJsonValue {
        &self.0.content
    }

    fn state_key(&self) -> Option<&str> {
        self.0.state_key.as_deref()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.0.prev_events.iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.0.auth_events.iter())
    }

    fn redacts(&self) -> Option<&Self::Id> {
        // Only the auth rules of versions 1 and 2 ask, and there it is at the top level.
        self.0.redacts.top.as_ref()
    }

    fn rejected(&self) -> bool {
        // A rejected event is a `Judged::Rejected`, never a bare `Pdu` in front of the auth rules.
        false
    }
}

#[cfg(test)]
mod tests;
