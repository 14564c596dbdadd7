//! The events that a new room starts with, in the specification's order.

use hanse_event::{Draft, content_of, room_version};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedUserId, RoomVersionId, UserId,
    api::client::room::{
        Visibility,
        create_room::v3::{Request, RoomPreset},
    },
    serde::Raw,
};
use serde_json::json;

use super::NewRoom;
use crate::RoomError;

/// Most state events that a client may ask for.
const INITIAL_STATE_MAX: usize = 100;

/// Everything after the create event, and its content.
pub(super) struct InitialEvents {
    pub(super) creation_content: CanonicalJsonObject,
    pub(super) drafts: Vec<Draft>,
}

impl InitialEvents {
    pub(super) fn of(room: &NewRoom, version: &RoomVersionId) -> Result<Self, RoomError> {
        let request = &room.request;
        if request.initial_state.len() > INITIAL_STATE_MAX {
            let reason = format!("more than {INITIAL_STATE_MAX} events in initial_state");
            return Err(RoomError::BadContent { reason });
        }
        let mut creation_content = match &request.creation_content {
            Some(content) => object(content)?,
            None => CanonicalJsonObject::new(),
        };
        let rules = room_version::rules(version)?;
        if is_trusted(request) && rules.authorization.explicitly_privilege_room_creators {
            add_creators(&mut creation_content, &request.invite);
        }
        let mut drafts = Drafts {
            creator: &room.creator,
            drafts: Vec::new(),
        };
        drafts.membership(room);
        drafts.power_levels(room, version)?;
        drafts.alias(room)?;
        drafts.preset(&preset_of(request), request)?;
        drafts.initial_state(request)?;
        drafts.name_and_topic(request)?;
        Ok(Self {
            creation_content,
            drafts: drafts.drafts,
        })
    }
}

struct Drafts<'a> {
    creator: &'a UserId,
    drafts: Vec<Draft>,
}

impl Drafts<'_> {
    fn push(&mut self, event_type: &str, content: CanonicalJsonObject) {
        self.drafts.push(Draft::state(
            self.creator.to_owned(),
            event_type,
            "",
            content,
        ));
    }

    fn push_json(
        &mut self,
        event_type: &str,
        content: &serde_json::Value,
    ) -> Result<(), RoomError> {
        self.push(
            event_type,
            content_of(content).map_err(RoomError::bad_content)?,
        );
        Ok(())
    }

    fn membership(&mut self, room: &NewRoom) {
        let mut content = room.profile.clone();
        content.insert("membership".to_owned(), "join".to_owned().into());
        let state_key = self.creator.to_string();
        let draft = Draft::state(self.creator.to_owned(), "m.room.member", state_key, content);
        self.drafts.push(draft);
    }

    fn power_levels(&mut self, room: &NewRoom, version: &RoomVersionId) -> Result<(), RoomError> {
        let rules = room_version::rules(version)?;
        let explicit_creators = rules.authorization.explicitly_privilege_room_creators;
        let mut levels = default_levels(explicit_creators);
        let mut users = serde_json::Map::new();
        // From version 12 on creators stand above all levels, and must not be listed.
        if !explicit_creators {
            users.insert(self.creator.to_string(), json!(100));
        }
        if is_trusted(&room.request) && !explicit_creators {
            users.extend(
                room.request
                    .invite
                    .iter()
                    .map(|user| (user.to_string(), json!(100))),
            );
        }
        if let Some(levels) = levels.as_object_mut() {
            levels.insert("users".to_owned(), users.into());
        }
        let mut content = content_of(&levels).map_err(RoomError::bad_content)?;
        if let Some(over) = &room.request.power_level_content_override {
            content.extend(object(over)?);
        }
        self.push("m.room.power_levels", content);
        Ok(())
    }

    fn alias(&mut self, room: &NewRoom) -> Result<(), RoomError> {
        match &room.alias {
            Some(alias) => self.push_json("m.room.canonical_alias", &json!({ "alias": alias })),
            None => Ok(()),
        }
    }

    fn preset(&mut self, preset: &RoomPreset, request: &Request) -> Result<(), RoomError> {
        let (join_rule, guest_access) = match preset {
            RoomPreset::PublicChat => ("public", "forbidden"),
            _ => ("invite", "can_join"),
        };
        for (event_type, content) in [
            ("m.room.join_rules", json!({ "join_rule": join_rule })),
            (
                "m.room.history_visibility",
                json!({ "history_visibility": "shared" }),
            ),
            (
                "m.room.guest_access",
                json!({ "guest_access": guest_access }),
            ),
        ] {
            if !asked_for(request, event_type) {
                self.push_json(event_type, &content)?;
            }
        }
        Ok(())
    }

    fn initial_state(&mut self, request: &Request) -> Result<(), RoomError> {
        for event in &request.initial_state {
            let event_type: String = field(event, "type")?
                .ok_or_else(|| RoomError::bad_content("an initial state event lacks its type"))?;
            let state_key: Option<String> = field(event, "state_key")?;
            let content: Option<CanonicalJsonObject> = field(event, "content")?;
            let content = content
                .ok_or_else(|| RoomError::bad_content("an initial state event lacks content"))?;
            let state_key = state_key.unwrap_or_default();
            self.drafts.push(Draft::state(
                self.creator.to_owned(),
                event_type,
                state_key,
                content,
            ));
        }
        Ok(())
    }

    fn name_and_topic(&mut self, request: &Request) -> Result<(), RoomError> {
        if let Some(name) = &request.name {
            self.push_json("m.room.name", &json!({ "name": name }))?;
        }
        if let Some(topic) = &request.topic {
            let content = json!({
                "topic": topic,
                "m.topic": { "m.text": [{ "body": topic, "mimetype": "text/plain" }] },
            });
            self.push_json("m.room.topic", &content)?;
        }
        Ok(())
    }
}

/// The preset asked for; else what the visibility implies.
fn preset_of(request: &Request) -> RoomPreset {
    let implied = match request.visibility {
        Visibility::Public => RoomPreset::PublicChat,
        _ => RoomPreset::PrivateChat,
    };
    request.preset.clone().unwrap_or(implied)
}

/// Whether everybody who is invited gets what the creator has.
fn is_trusted(request: &Request) -> bool {
    preset_of(request) == RoomPreset::TrustedPrivateChat
}

/// Has these users created the room, too, each once. What is no list is left to the auth rules.
fn add_creators(content: &mut CanonicalJsonObject, users: &[OwnedUserId]) {
    let creators = content
        .entry("additional_creators".to_owned())
        .or_insert_with(|| CanonicalJsonValue::Array(Vec::new()));
    let CanonicalJsonValue::Array(creators) = creators else {
        return;
    };
    for user in users {
        let user = CanonicalJsonValue::String(user.to_string());
        if !creators.contains(&user) {
            creators.push(user);
        }
    }
}

fn asked_for(request: &Request, event_type: &str) -> bool {
    let same = |event: &Raw<_>| field::<String, _>(event, "type").ok().flatten();
    request
        .initial_state
        .iter()
        .any(|event| same(event).as_deref() == Some(event_type))
}

fn default_levels(explicit_creators: bool) -> serde_json::Value {
    json!({
        "ban": 50,
        "events": {
            "m.room.avatar": 50,
            "m.room.canonical_alias": 50,
            "m.room.encryption": 100,
            "m.room.history_visibility": 100,
            "m.room.name": 50,
            "m.room.power_levels": 100,
            "m.room.server_acl": 100,
            "m.room.tombstone": if explicit_creators { 150 } else { 100 },
        },
        "events_default": 0,
        "invite": 0,
        "kick": 50,
        "redact": 50,
        "state_default": 50,
        "users_default": 0,
    })
}

fn object<T>(raw: &Raw<T>) -> Result<CanonicalJsonObject, RoomError> {
    let value: CanonicalJsonValue =
        serde_json::from_str(raw.json().get()).map_err(RoomError::bad_content)?;
    match value {
        CanonicalJsonValue::Object(object) => Ok(object),
        _ => Err(RoomError::bad_content("not a JSON object")),
    }
}

fn field<F: serde::de::DeserializeOwned, T>(
    raw: &Raw<T>,
    name: &str,
) -> Result<Option<F>, RoomError> {
    raw.get_field(name).map_err(RoomError::bad_content)
}
