//! Replacing a room by one of another version ([spec]): a new room, a tombstone in the old one, and
//! the aliases moved.
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#room-upgrades

use hanse_event::{Draft, content_of, room_version};
use hanse_log::Position;
use hanse_room::{NewEvent, NewRoom, Rooms, TimelineEvent};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedRoomId, RoomId, UserId,
    api::{
        client::room::{create_room::v3 as create_room, upgrade_room::v3 as upgrade_room},
        error::ErrorKind,
    },
    events::{StateEventType, room::power_levels::RoomPowerLevels},
    serde::Raw,
};
use serde_json::{json, value::to_raw_value};

use crate::{
    aliases::Aliases,
    error::ApiError,
    member_profiles::MemberProfiles,
    memberships::Memberships,
    room_view::{RoomView, RoomViews},
    session::Session,
};

/// The state that goes over into the new room, beside its power levels.
const CARRIED: [&str; 8] = [
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.guest_access",
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
    "m.room.encryption",
    "m.room.server_acl",
];

/// Upgrades rooms.
#[derive(Clone, Debug)]
pub(crate) struct Upgrades {
    pub(crate) aliases: Aliases,
    pub(crate) rooms: Rooms,
    pub(crate) memberships: Memberships,
    pub(crate) profiles: MemberProfiles,
    pub(crate) views: RoomViews,
}

impl Upgrades {
    /// Replaces a room; the new one's id. Nothing happens unless the user may close the old room.
    pub(crate) async fn upgrade(
        &self,
        session: &Session,
        request: upgrade_room::Request,
    ) -> Result<OwnedRoomId, ApiError> {
        let version = &request.new_version;
        room_version::rules(version).map_err(|error| {
            ApiError::bad_request(ErrorKind::UnsupportedRoomVersion, error.to_string())
        })?;
        let view = self.views.open(session, &request.room_id).await?;
        view.joined()?;
        let (_, levels) = view.power_levels().await?;
        if !levels.user_can_send_state(&session.user_id, StateEventType::RoomTombstone) {
            return Err(ApiError::forbidden("you may not upgrade this room"));
        }
        let new = NewRoom {
            creator: session.user_id.clone(),
            profile: self.profiles.content(&session.user_id).await?,
            alias: None,
            request: self.successor(&view, &request).await?,
        };
        let replacement = self.rooms.create(new).await?;
        self.memberships
            .carry_over(&session.user_id, view.room_id(), &replacement)
            .await?;
        self.close(&session.user_id, &view, &replacement, &levels)
            .await?;
        self.move_names(&session.user_id, view.room_id(), &replacement)
            .await?;
        Ok(replacement)
    }

    /// The new room, as a client would ask for it.
    async fn successor(
        &self,
        old: &RoomView,
        request: &upgrade_room::Request,
    ) -> Result<create_room::Request, ApiError> {
        let mut new = create_room::Request::new();
        new.room_version = Some(request.new_version.clone());
        new.creation_content = Some(self.creation_content(old, request).await?);
        for event_type in CARRIED {
            if let Some(content) = content(old, event_type).await? {
                let event = json!({ "type": event_type, "state_key": "", "content": content });
                new.initial_state.push(raw(&event)?);
            }
        }
        if let Some(mut levels) = content(old, "m.room.power_levels").await? {
            let rules = room_version::rules(&request.new_version);
            let rules = rules.map_err(|error| ApiError::internal(&error))?;
            if rules.authorization.explicitly_privilege_room_creators {
                without_creators(&mut levels, old.user_id(), request);
            }
            new.power_level_content_override = Some(raw(&levels)?);
        }
        Ok(new)
    }

    async fn creation_content(
        &self,
        old: &RoomView,
        request: &upgrade_room::Request,
    ) -> Result<Raw<create_room::CreationContent>, ApiError> {
        let mut creation = content(old, "m.room.create").await?.unwrap_or_default();
        creation.retain(|key, _| matches!(key.as_str(), "m.federate" | "type"));
        let head = old.reader().head(old.room_id()).await?;
        let last = head.and_then(|head| head.head.forward_extremities.into_iter().next());
        let rules = room_version::rules(&request.new_version);
        let rules = rules.map_err(|error| ApiError::internal(&error))?;
        let predecessor = if rules.authorization.room_create_event_id_as_room_id {
            // From version 12 on the tombstone is last, and names a room that is there already.
            json!({ "room_id": old.room_id() })
        } else {
            json!({ "room_id": old.room_id(), "event_id": last })
        };
        creation.insert("predecessor".to_owned(), canonical(&predecessor)?);
        if !request.additional_creators.is_empty() {
            let others = canonical(&json!(request.additional_creators))?;
            creation.insert("additional_creators".to_owned(), others);
        }
        raw(&creation)
    }

    /// The tombstone, and power levels under which nobody speaks or invites by default.
    async fn close(
        &self,
        user_id: &UserId,
        old: &RoomView,
        replacement: &RoomId,
        levels: &RoomPowerLevels,
    ) -> Result<(), ApiError> {
        let tombstone =
            json!({ "body": "This room has been replaced", "replacement_room": replacement });
        self.send(
            user_id,
            old.room_id(),
            "m.room.tombstone",
            object(&tombstone)?,
        )
        .await?;
        if !levels.user_can_send_state(user_id, StateEventType::RoomPowerLevels) {
            return Ok(());
        }
        let Some(mut closed) = content(old, "m.room.power_levels").await? else {
            return Ok(());
        };
        let muted = i64::from(levels.users_default).saturating_add(1).max(50);
        for key in ["events_default", "invite"] {
            let now = closed
                .get(key)
                .and_then(CanonicalJsonValue::as_integer)
                .map(i64::from);
            let raised = canonical(&json!(now.unwrap_or(0).max(muted)))?;
            closed.insert(key.to_owned(), raised);
        }
        self.send(user_id, old.room_id(), "m.room.power_levels", closed)
            .await
    }

    /// Aliases and the place in the directory go to the new room.
    async fn move_names(
        &self,
        user_id: &UserId,
        old: &RoomId,
        replacement: &RoomId,
    ) -> Result<(), ApiError> {
        let reader = self.rooms.reader();
        let canonical_alias = "m.room.canonical_alias";
        let named = reader
            .state_event(old, canonical_alias, "", Position::END)
            .await?;
        for alias in reader.aliases(old).await? {
            let Some(seen) = self.aliases.users.alias(&alias).await? else {
                continue;
            };
            self.aliases.remove(&seen).await?;
            self.aliases
                .create(&alias, replacement, &seen.creator)
                .await?;
        }
        if let Some(named) = named {
            let content = content_of_event(&named)?;
            self.send(user_id, replacement, canonical_alias, content)
                .await?;
        }
        if reader.is_published(old).await? {
            self.rooms.publish(replacement, true).await?;
            self.rooms.publish(old, false).await?;
        }
        Ok(())
    }

    async fn send(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        event_type: &str,
        content: CanonicalJsonObject,
    ) -> Result<(), ApiError> {
        let draft = Draft::state(user_id.to_owned(), event_type, "", content);
        self.rooms.send(room_id, NewEvent::now(draft)).await?;
        Ok(())
    }
}

/// The content of a state event of the old room.
async fn content(
    old: &RoomView,
    event_type: &str,
) -> Result<Option<CanonicalJsonObject>, ApiError> {
    let event = old
        .reader()
        .state_event(old.room_id(), event_type, "", Position::END)
        .await?;
    event.as_ref().map(content_of_event).transpose()
}

fn content_of_event(event: &TimelineEvent) -> Result<CanonicalJsonObject, ApiError> {
    event
        .pdu
        .content_as()
        .map_err(|error| ApiError::internal(&error))
}

/// Where creators stand above all levels, they must not be listed.
fn without_creators(
    levels: &mut CanonicalJsonObject,
    creator: &UserId,
    request: &upgrade_room::Request,
) {
    if let Some(CanonicalJsonValue::Object(users)) = levels.get_mut("users") {
        users.remove(creator.as_str());
        for other in &request.additional_creators {
            users.remove(other.as_str());
        }
    }
}

fn raw<T>(value: &impl serde::Serialize) -> Result<Raw<T>, ApiError> {
    let json = to_raw_value(value).map_err(|error| ApiError::internal(&error))?;
    Ok(Raw::from_json(json))
}

fn object(value: &impl serde::Serialize) -> Result<CanonicalJsonObject, ApiError> {
    content_of(value).map_err(|error| ApiError::internal(&error))
}

fn canonical(value: &serde_json::Value) -> Result<CanonicalJsonValue, ApiError> {
    CanonicalJsonValue::try_from(value.clone()).map_err(|error| ApiError::internal(&error))
}
