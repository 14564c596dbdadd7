//! [Room aliases](https://spec.matrix.org/v1.16/client-server-api/#room-aliases).

use axum::extract::State;
use hanse_event::Draft;
use hanse_log::Position;
use hanse_room::{NewEvent, Rooms};
use hanse_user::{Alias, Users};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue,
    api::client::{
        alias::{
            create_alias::v3 as create_alias, delete_alias::v3 as delete_alias,
            get_alias::v3 as get_alias,
        },
        room::aliases::v3 as room_aliases,
    },
    events::StateEventType,
};

use super::Endpoints;
use crate::{
    admission::Class,
    aliases::Aliases,
    error::ApiError,
    exchange::Ruma,
    room_view::{RoomViews, not_there},
    session::Session,
};

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes
        .add(Class::Read, "alias", resolve)
        .add(Class::Write, "create_alias", create)
        .add(Class::Write, "delete_alias", delete)
        .add(Class::Read, "room_aliases", of_room)
}

/// `GET /_matrix/client/v3/directory/room/{roomAlias}` — everybody.
async fn resolve(
    State(aliases): State<Aliases>,
    State(users): State<Users>,
    Ruma(request): Ruma<get_alias::Request>,
) -> Result<Ruma<get_alias::Response>, ApiError> {
    let room_id = aliases.get(&request.room_alias).await?.room_id;
    let servers = vec![users.server_name().to_owned()];
    Ok(Ruma(get_alias::Response::new(room_id, servers)))
}

/// `PUT /_matrix/client/v3/directory/room/{roomAlias}` — members of the room.
async fn create(
    State(aliases): State<Aliases>,
    State(views): State<RoomViews>,
    session: Session,
    Ruma(request): Ruma<create_alias::Request>,
) -> Result<Ruma<create_alias::Response>, ApiError> {
    views.open(&session, &request.room_id).await?.joined()?;
    aliases
        .create(&request.room_alias, &request.room_id, &session.user_id)
        .await?;
    Ok(Ruma(create_alias::Response::new()))
}

/// `DELETE /_matrix/client/v3/directory/room/{roomAlias}` — who made it, who may set the room's
/// canonical alias, administrators.
async fn delete(
    State(aliases): State<Aliases>,
    State(views): State<RoomViews>,
    State(rooms): State<Rooms>,
    session: Session,
    Ruma(request): Ruma<delete_alias::Request>,
) -> Result<Ruma<delete_alias::Response>, ApiError> {
    let alias = aliases.get(&request.room_alias).await?;
    if !may_delete(&views, &session, &alias).await? {
        return Err(ApiError::forbidden("you may not delete this alias"));
    }
    aliases.remove(&alias).await?;
    if let Err(error) = withdraw(&rooms, &session, &alias).await {
        // The alias is gone all the same, as the specification recommends.
        tracing::debug!(%error, "a removed alias stays in its room's state");
    }
    Ok(Ruma(delete_alias::Response::new()))
}

/// Takes a removed alias out of the room's `m.room.canonical_alias`, if it is in there.
async fn withdraw(rooms: &Rooms, session: &Session, removed: &Alias) -> Result<(), ApiError> {
    const CANONICAL: &str = "m.room.canonical_alias";
    let (room_id, now) = (&removed.room_id, Position::END);
    let held = rooms.reader().state_event(room_id, CANONICAL, "", now);
    let Some(held) = held.await? else {
        return Ok(());
    };
    let before: CanonicalJsonObject = held
        .pdu
        .content_as()
        .map_err(|error| ApiError::internal(&error))?;
    let mut content = before.clone();
    let is_removed = |value: &CanonicalJsonValue| value.as_str() == Some(removed.alias.as_str());
    content.retain(|key, value| key != "alias" || !is_removed(value));
    if let Some(CanonicalJsonValue::Array(others)) = content.get_mut("alt_aliases") {
        others.retain(|alias| !is_removed(alias));
        if others.is_empty() {
            content.remove("alt_aliases");
        }
    }
    if content != before {
        let draft = Draft::state(session.user_id.clone(), CANONICAL, "", content);
        rooms.send(room_id, NewEvent::now(draft)).await?;
    }
    Ok(())
}

async fn may_delete(views: &RoomViews, session: &Session, alias: &Alias) -> Result<bool, ApiError> {
    if session.admin || alias.creator == session.user_id {
        return Ok(true);
    }
    let Ok(view) = views.open(session, &alias.room_id).await else {
        return Ok(false);
    };
    let (_, levels) = view.power_levels().await?;
    let canonical = StateEventType::RoomCanonicalAlias;
    Ok(view.is_joined() && levels.user_can_send_state(&session.user_id, canonical))
}

/// `GET /_matrix/client/v3/rooms/{roomId}/aliases` — members; everybody where the room is world
/// readable.
async fn of_room(
    State(views): State<RoomViews>,
    session: Session,
    Ruma(request): Ruma<room_aliases::Request>,
) -> Result<Ruma<room_aliases::Response>, ApiError> {
    let view = views.open(&session, &request.room_id).await?;
    if !view.is_joined() && !view.is_world_readable() {
        return Err(not_there());
    }
    let aliases = view.reader().aliases(view.room_id()).await?;
    Ok(Ruma(room_aliases::Response::new(aliases)))
}
