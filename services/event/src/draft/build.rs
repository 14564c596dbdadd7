//! Canonical JSON, content hash, signature and id of a new event.

use std::collections::BTreeMap;

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, IdParseError, Int, MilliSecondsSinceUnixEpoch,
    OwnedEventId, OwnedRoomId, RoomId, RoomVersionId, ServerName,
    canonical_json::CanonicalJsonObjectExt,
    events::TimelineEventType,
    room_version_rules::{EventIdFormatVersion, EventsReferenceFormatVersion, RoomVersionRules},
    signatures::{JsonError, content_hash, reference_hash},
};
use serde_json::value::to_raw_value;

use super::Draft;
use crate::{
    limits::{AUTH_EVENTS_MAX, INTEGER_MAX, PDU_BYTES_MAX, PREV_EVENTS_MAX},
    pdu::{Fields, FormatError, Pdu, Redacts, check_field_bytes, room_id_of_create},
    room_version::{UnsupportedRoomVersion, rules as rules_of},
    server_key::ServerKey,
};

/// Where in its room a new event goes.
#[derive(Debug, Clone)]
pub struct Placement<'r> {
    /// The room.
    pub room_id: OwnedRoomId,
    /// The rules of its version.
    pub rules: &'r RoomVersionRules,
    /// The forward extremities, at most 20.
    pub prev_events: Vec<OwnedEventId>,
    /// The state events named by [`Draft::auth_types`], at most 10.
    pub auth_events: Vec<OwnedEventId>,
    /// One more than the deepest of `prev_events`; capped at 2^53 - 1.
    pub depth: u64,
    /// Now.
    pub origin_server_ts: MilliSecondsSinceUnixEpoch,
    /// Room version 2 only: [`Pdu::reference_hash`] of every event in `prev_events` and
    /// `auth_events`. Empty otherwise.
    pub reference_hashes: BTreeMap<OwnedEventId, String>,
}

/// Why no event was built. Nothing is signed then.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The event would be longer than 65,536 bytes (`M_TOO_LARGE`).
    #[error("event has {bytes} bytes where at most 65536 are allowed")]
    TooLarge {
        /// Bytes of the canonical form; without hashes and signatures if that was already too long.
        bytes: usize,
    },
    /// A field breaks the PDU format; [`FormatError::FieldTooLong`] is `M_TOO_LARGE`, the rest
    /// `M_BAD_JSON`.
    #[error("event of the wrong format")]
    Format(#[from] FormatError),
    /// An id cannot be made from the parts given (`M_BAD_JSON`).
    #[error("malformed id")]
    Id(#[from] IdParseError),
    /// Room version 2: the hash of a referenced event was not given.
    #[error("reference hash of {event_id} is not known")]
    ReferenceHash {
        /// The event.
        event_id: OwnedEventId,
    },
    /// The room version is not served (`M_UNSUPPORTED_ROOM_VERSION`).
    #[error(transparent)]
    RoomVersion(#[from] UnsupportedRoomVersion),
    /// The event could not be hashed, signed or written.
    #[error("event could not be signed")]
    Sign(#[from] JsonError),
}

impl BuildError {
    /// Whether the answer is 413 `M_TOO_LARGE`.
    pub fn is_too_large(&self) -> bool {
        matches!(
            self,
            Self::TooLarge { .. } | Self::Format(FormatError::FieldTooLong { .. })
        )
    }
}

/// Builds, hashes and signs an event.
pub fn build(draft: Draft, place: Placement<'_>, key: &ServerKey) -> Result<Pdu, BuildError> {
    check_format(&draft, &place)?;
    sign(draft, Where::Room(place.room_id.clone()), place, key)
}

/// Builds the create event of a room, which decides on the room's id: from version 12 on that is
/// the event's own hash; before, it is made of `localpart` (18 random letters, say) and the
/// sender's server.
///
/// `draft.content` is the creation content; `room_version` and, until version 10, `creator` are
/// set here.
pub fn build_create(
    mut draft: Draft,
    version: &RoomVersionId,
    localpart: &str,
    origin_server_ts: MilliSecondsSinceUnixEpoch,
    key: &ServerKey,
) -> Result<Pdu, BuildError> {
    let rules = rules_of(version)?;
    draft.state_key = Some(String::new());
    draft
        .content
        .insert("room_version".into(), version.as_str().to_owned().into());
    if !rules.authorization.use_room_create_sender {
        draft
            .content
            .insert("creator".into(), draft.sender.as_str().to_owned().into());
    }
    let room_id = RoomId::parse(format!("!{localpart}:{}", draft.sender.server_name()))?;
    let place = Placement {
        room_id: room_id.clone(),
        rules,
        prev_events: Vec::new(),
        auth_events: Vec::new(),
        depth: 1,
        origin_server_ts,
        reference_hashes: BTreeMap::new(),
    };
    check_format(&draft, &place)?;
    let derived = rules.authorization.room_create_event_id_as_room_id;
    sign(
        draft,
        if derived {
            Where::Derived
        } else {
            Where::Room(room_id)
        },
        place,
        key,
    )
}

/// The room of an event under construction.
enum Where {
    Room(OwnedRoomId),
    /// Follows from the id of the create event.
    Derived,
}

fn check_format(draft: &Draft, place: &Placement<'_>) -> Result<(), FormatError> {
    check_field_bytes("sender", draft.sender.as_str())?;
    check_field_bytes("room_id", place.room_id.as_str())?;
    check_field_bytes("type", &draft.event_type)?;
    check_field_bytes("state_key", draft.state_key.as_deref().unwrap_or_default())?;
    check_count("prev_events", place.prev_events.len(), PREV_EVENTS_MAX)?;
    check_count("auth_events", place.auth_events.len(), AUTH_EVENTS_MAX)
}

fn check_count(field: &'static str, count: usize, max: usize) -> Result<(), FormatError> {
    if count > max {
        return Err(FormatError::TooMany { field, count, max });
    }
    Ok(())
}

fn sign(
    mut draft: Draft,
    room: Where,
    place: Placement<'_>,
    key: &ServerKey,
) -> Result<Pdu, BuildError> {
    let rules = place.rules;
    let redacts = place_redacts(&mut draft, rules);
    let content = to_raw_value(&draft.content).map_err(JsonError::from)?;
    let server = draft.sender.server_name().to_owned();
    let depth = place.depth.min(INTEGER_MAX as u64);

    let mut event = unsigned_event(&mut draft, &room, &place, depth, redacts.top.as_ref())?;
    hash_and_sign(&mut event, &server, rules, key)?;
    let event_id = match rules.event_id_format {
        EventIdFormatVersion::V1 => own_event_id(&event)?,
        _ => ruma::EventId::new_v2_or_v3(&reference_hash(&event, rules)?)?,
    };
    check_field_bytes("event_id", event_id.as_str())?;
    let json = serde_json::to_string(&event).map_err(JsonError::from)?;
    if json.len() > PDU_BYTES_MAX {
        return Err(BuildError::TooLarge { bytes: json.len() });
    }

    let room_id_in_json = matches!(room, Where::Room(_));
    let room_id = match room {
        Where::Room(room_id) => room_id,
        Where::Derived => room_id_of_create(&event_id)?,
    };
    Ok(Pdu::from_fields(Fields {
        event_id,
        room_id,
        room_id_in_json,
        sender: draft.sender,
        event_type: TimelineEventType::from(draft.event_type.as_str()),
        type_name: draft.event_type.into(),
        state_key: draft.state_key.map(Into::into),
        content,
        prev_events: place.prev_events,
        auth_events: place.auth_events,
        depth,
        origin_server_ts: place.origin_server_ts,
        redacts,
        unsigned: None,
        json: json.into(),
    }))
}

/// Puts `redacts` where the room version wants it; what a client wrote into the content stays.
fn place_redacts(draft: &mut Draft, rules: &RoomVersionRules) -> Redacts {
    if draft.event_type != "m.room.redaction" {
        return Redacts::default();
    }
    let in_content = rules.redaction.content_field_redacts;
    if in_content && let Some(id) = &draft.redacts {
        draft
            .content
            .insert("redacts".into(), id.as_str().to_owned().into());
    }
    let content = draft.content.get("redacts").and_then(|id| id.as_str());
    let content = content.and_then(|id| ruma::EventId::parse(id).ok());
    Redacts {
        top: draft.redacts.take().filter(|_| !in_content),
        content,
    }
}

/// The event's object without hashes and signatures. Takes the content out of the draft.
fn unsigned_event(
    draft: &mut Draft,
    room: &Where,
    place: &Placement<'_>,
    depth: u64,
    redacts: Option<&OwnedEventId>,
) -> Result<CanonicalJsonObject, BuildError> {
    let mut event = CanonicalJsonObject::new();
    let mut put = |key: &str, value: CanonicalJsonValue| event.insert(key.to_owned(), value);
    put("auth_events", references(&place.auth_events, place)?);
    put(
        "content",
        CanonicalJsonValue::Object(std::mem::take(&mut draft.content)),
    );
    put("depth", integer(depth));
    put(
        "origin_server_ts",
        integer(place.origin_server_ts.get().into()),
    );
    put("prev_events", references(&place.prev_events, place)?);
    put("sender", draft.sender.as_str().to_owned().into());
    put("type", draft.event_type.clone().into());
    if let Some(id) = redacts {
        put("redacts", id.as_str().to_owned().into());
    }
    if let Where::Room(room_id) = room {
        put("room_id", room_id.as_str().to_owned().into());
    }
    if let Some(state_key) = &draft.state_key {
        put("state_key", state_key.clone().into());
    }
    Ok(event)
}

fn integer(value: u64) -> CanonicalJsonValue {
    let value = i64::try_from(value).ok().and_then(Int::new);
    CanonicalJsonValue::Integer(value.unwrap_or(Int::MAX))
}

fn references(
    ids: &[OwnedEventId],
    place: &Placement<'_>,
) -> Result<CanonicalJsonValue, BuildError> {
    let with_hashes = place.rules.events_reference_format == EventsReferenceFormatVersion::V1;
    let reference = |id: &OwnedEventId| {
        let name = CanonicalJsonValue::from(id.as_str().to_owned());
        if !with_hashes {
            return Ok(name);
        }
        let hash = place.reference_hashes.get(id);
        let hash = hash.ok_or_else(|| BuildError::ReferenceHash {
            event_id: id.clone(),
        })?;
        let hashes = CanonicalJsonObject::from([("sha256".to_owned(), hash.clone().into())]);
        Ok(CanonicalJsonValue::Array(vec![
            name,
            CanonicalJsonValue::Object(hashes),
        ]))
    };
    ids.iter()
        .map(reference)
        .collect::<Result<_, _>>()
        .map(CanonicalJsonValue::Array)
}

fn hash_and_sign(
    event: &mut CanonicalJsonObject,
    server: &ServerName,
    rules: &RoomVersionRules,
    key: &ServerKey,
) -> Result<(), BuildError> {
    let mut hash = hash_of(event)?;
    if rules.event_format.require_event_id {
        // The sender names the event here. Its own hash makes the name unique without a dice.
        let localpart = hash.replace(['+', '/'], "-");
        let event_id = format!("${localpart}:{server}");
        event.insert("event_id".to_owned(), event_id.into());
        hash = hash_of(event)?;
    }
    let hashes = CanonicalJsonObject::from([("sha256".to_owned(), hash.into())]);
    event.insert("hashes".to_owned(), CanonicalJsonValue::Object(hashes));
    Ok(key.sign_event(server, event, &rules.redaction)?)
}

fn hash_of(event: &CanonicalJsonObject) -> Result<String, BuildError> {
    match content_hash(event) {
        Ok(hash) => Ok(hash.encode()),
        Err(JsonError::PduTooLarge) => {
            let bytes = serde_json::to_string(event).map_or(PDU_BYTES_MAX + 1, |json| json.len());
            Err(BuildError::TooLarge { bytes })
        }
        Err(error) => Err(error.into()),
    }
}

fn own_event_id(event: &CanonicalJsonObject) -> Result<OwnedEventId, BuildError> {
    let id = event
        .get_as_required_string("event_id", "event_id")
        .map_err(JsonError::from)?;
    Ok(ruma::EventId::parse(id)?)
}
