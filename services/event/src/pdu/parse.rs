//! Reading events that were checked before: from our own store.

use std::fmt;

use ruma::{
    CanonicalJsonObject, EventId, IdParseError, MilliSecondsSinceUnixEpoch, OwnedEventId,
    OwnedRoomId, OwnedUserId, RoomId,
    events::TimelineEventType,
    room_version_rules::{EventIdFormatVersion, RoomVersionRules},
    signatures::{JsonError, reference_hash},
};
use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue as RawJsonValue;

use super::{Fields, Pdu, Redacts};

/// An event's JSON that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PduError {
    /// Not JSON, or a field is missing or of the wrong kind.
    #[error("malformed event")]
    Json(#[from] serde_json::Error),
    /// An id is malformed.
    #[error("malformed id in event")]
    Id(#[from] IdParseError),
    /// The reference hash could not be computed.
    #[error("event without a reference hash")]
    Hash(#[from] JsonError),
}

/// The fields of a PDU as they stand in its JSON.
#[derive(Deserialize)]
struct Wire<'a> {
    room_id: Option<OwnedRoomId>,
    sender: OwnedUserId,
    #[serde(rename = "type")]
    type_name: Box<str>,
    #[serde(default)]
    state_key: Option<Box<str>>,
    #[serde(borrow)]
    content: &'a RawJsonValue,
    prev_events: Vec<Reference>,
    auth_events: Vec<Reference>,
    depth: u64,
    origin_server_ts: MilliSecondsSinceUnixEpoch,
    #[serde(borrow, default)]
    redacts: Option<&'a RawJsonValue>,
    #[serde(borrow, default)]
    unsigned: Option<&'a RawJsonValue>,
}

/// An entry of `prev_events` or `auth_events`: an id, or (room versions 1 and 2) an id with hashes.
struct Reference(OwnedEventId);

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ReferenceVisitor)
    }
}

struct ReferenceVisitor;

impl<'de> de::Visitor<'de> for ReferenceVisitor {
    type Value = Reference;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event id, or an array of an event id and hashes")
    }

    fn visit_str<E: de::Error>(self, id: &str) -> Result<Reference, E> {
        EventId::parse(id).map(Reference).map_err(E::custom)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Reference, A::Error> {
        let id = seq
            .next_element()?
            .ok_or_else(|| de::Error::invalid_length(0, &self))?;
        while seq.next_element::<de::IgnoredAny>()?.is_some() {}
        Ok(Reference(id))
    }
}

impl Pdu {
    /// Reads an event from our own store, under the id it was stored by. Nothing is hashed or
    /// verified; the text is kept as it is.
    pub fn from_stored(
        event_id: OwnedEventId,
        json: impl Into<Box<str>>,
    ) -> Result<Self, PduError> {
        let json = json.into();
        let wire: Wire<'_> = serde_json::from_str(&json)?;
        let room_id_in_json = wire.room_id.is_some();
        let room_id = wire
            .room_id
            .map_or_else(|| room_id_of_create(&event_id), Ok)?;
        let fields = Fields {
            event_id,
            room_id,
            room_id_in_json,
            sender: wire.sender,
            event_type: TimelineEventType::from(&*wire.type_name),
            redacts: Redacts::read(&wire.type_name, wire.redacts, wire.content),
            type_name: wire.type_name,
            state_key: wire.state_key,
            content: wire.content.to_owned(),
            prev_events: ids(wire.prev_events),
            auth_events: ids(wire.auth_events),
            depth: wire.depth,
            origin_server_ts: wire.origin_server_ts,
            unsigned: wire.unsigned.map(ToOwned::to_owned),
            json,
        };
        Ok(Self::from_fields(fields))
    }

    /// Reads a trusted event whose id is not known: computes it. No signature or format check.
    pub fn parse(json: &str, rules: &RoomVersionRules) -> Result<Self, PduError> {
        let object: CanonicalJsonObject = serde_json::from_str(json)?;
        Self::from_object(&object, rules)
    }

    /// The event's reference hash: references to it carry this in room versions 1 and 2.
    pub fn reference_hash(&self, rules: &RoomVersionRules) -> Result<String, PduError> {
        let object: CanonicalJsonObject = serde_json::from_str(self.json())?;
        Ok(reference_hash(&object, rules)?)
    }

    /// As [`Pdu::parse`], of an object that was already read.
    pub(crate) fn from_object(
        object: &CanonicalJsonObject,
        rules: &RoomVersionRules,
    ) -> Result<Self, PduError> {
        let event_id = event_id_of(object, rules)?;
        Self::from_stored(event_id, serde_json::to_string(object)?)
    }
}

/// The id of an event: its reference hash, or (room versions 1 and 2) what it says.
pub(crate) fn event_id_of(
    object: &CanonicalJsonObject,
    rules: &RoomVersionRules,
) -> Result<OwnedEventId, PduError> {
    if rules.event_id_format == EventIdFormatVersion::V1 {
        let id = object
            .get("event_id")
            .and_then(|id| id.as_str())
            .unwrap_or_default();
        return Ok(EventId::parse(id)?);
    }
    Ok(EventId::new_v2_or_v3(&reference_hash(object, rules)?)?)
}

/// The id of the room that a create event opens, from room version 12 on.
pub(crate) fn room_id_of_create(event_id: &EventId) -> Result<OwnedRoomId, IdParseError> {
    RoomId::new_v2(event_id.localpart())
}

impl Redacts {
    /// Lenient: in other events `redacts` means nothing, and a malformed id redacts nothing.
    fn read(type_name: &str, top: Option<&RawJsonValue>, content: &RawJsonValue) -> Self {
        #[derive(Deserialize)]
        struct Content<'a> {
            #[serde(borrow)]
            redacts: Option<&'a RawJsonValue>,
        }
        if type_name != "m.room.redaction" {
            return Self::default();
        }
        let id = |raw: &RawJsonValue| serde_json::from_str(raw.get()).ok();
        let content = serde_json::from_str::<Content<'_>>(content.get()).ok();
        Self {
            top: top.and_then(id),
            content: content.and_then(|c| c.redacts).and_then(id),
        }
    }
}

fn ids(references: Vec<Reference>) -> Vec<OwnedEventId> {
    references
        .into_iter()
        .map(|reference| reference.0)
        .collect()
}
