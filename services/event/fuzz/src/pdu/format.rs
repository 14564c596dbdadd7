//! The PDU format, as the specification and `docs` tell it.

use ruma::{EventId, RoomId, UserId};
use serde_json::{Map, Value};

use crate::json::Survey;

/// Of a room version.
pub(super) struct Format {
    pub(super) version: usize,
}

impl Format {
    /// Whether an event is of this format and of a size that is allowed.
    pub(super) fn allows(&self, survey: &Survey) -> bool {
        let Value::Object(event) = survey.value() else {
            return false;
        };
        let mut event = event.clone();
        event.remove("unsigned");
        self.has_fields(&event) && self.has_references(&event) && canonical_bytes(event) <= 65_536
    }

    fn has_fields(&self, event: &Map<String, Value>) -> bool {
        let is_create = event.get("type") == Some(&"m.room.create".into());
        let short = |field| {
            event
                .get(field)
                .and_then(Value::as_str)
                .is_some_and(is_short)
        };
        let natural = |field| event.get(field).is_some_and(Value::is_u64);
        short("type")
            && short("sender")
            && (short("room_id") || is_create && self.version >= 12)
            && (short("event_id") || self.version >= 3)
            && (short("state_key") || !event.contains_key("state_key"))
            && event.get("content").is_some_and(Value::is_object)
            && natural("depth")
            && natural("origin_server_ts")
    }

    fn has_references(&self, event: &Map<String, Value>) -> bool {
        let few = |field, most| {
            let references = event.get(field).and_then(Value::as_array);
            references.is_some_and(|all| {
                all.len() <= most
                    && all
                        .iter()
                        .all(|one| self.reference(one).is_some_and(is_short))
            })
        };
        let room = event
            .get("room_id")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let create = room.strip_prefix('!').map(|hash| format!("${hash}"));
        let named = |field: &str| event.get(field).and_then(Value::as_array);
        let names_create = self.version >= 12
            && named("auth_events")
                .into_iter()
                .flatten()
                .any(|id| id.as_str() == create.as_deref());
        few("prev_events", 20) && few("auth_events", 10) && !(names_create && create.is_some())
    }

    /// The id in an entry of `prev_events` or `auth_events`.
    fn reference<'v>(&self, entry: &'v Value) -> Option<&'v str> {
        if self.version >= 3 {
            return entry.as_str();
        }
        entry.as_array()?.first()?.as_str()
    }

    /// Whether the ids of an event of the format are ids.
    pub(super) fn ids_are_valid(&self, event: &Value) -> bool {
        let text = |field: &str| event.get(field).and_then(Value::as_str);
        let all = |field: &str| {
            event
                .get(field)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
        };
        let is_event = |id: &str| EventId::parse(id).is_ok();
        let mut references = all("prev_events").chain(all("auth_events"));
        // From version 12 on a create event has no room, or an absent one.
        let room = match event.get("room_id") {
            None | Some(Value::Null) => self.version >= 12,
            Some(_) => text("room_id").is_some_and(|id| RoomId::parse(id).is_ok()),
        };
        room && text("sender").is_some_and(|id| UserId::parse(id).is_ok())
            && (self.version >= 3 || text("event_id").is_some_and(is_event))
            && references.all(|entry| self.reference(entry).is_some_and(is_event))
    }
}

fn is_short(text: &str) -> bool {
    text.len() <= 255
}

fn canonical_bytes(event: Map<String, Value>) -> usize {
    Survey::written(&Value::Object(event)).len()
}
