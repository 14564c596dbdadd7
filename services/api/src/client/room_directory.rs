//! [Published room directory](https://spec.matrix.org/v1.16/client-server-api/#published-room-directory).

use axum::extract::State;
use hanse_room::{RoomReader, Rooms};
use hanse_user::Users;
use ruma::{
    ServerName, UInt,
    api::client::{
        directory::{
            get_public_rooms::v3 as get_public_rooms,
            get_public_rooms_filtered::v3 as get_public_rooms_filtered,
            get_room_visibility::v3 as get_room_visibility,
            set_room_visibility::v3 as set_room_visibility,
        },
        room::Visibility,
    },
    directory::Filter,
    events::StateEventType,
};

use super::Endpoints;
use crate::{
    admission::Class,
    error::ApiError,
    exchange::Ruma,
    public_rooms::{PublicRooms, Slice},
    room_view::RoomViews,
    session::Session,
};

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes
        .add(Class::Read, "public_rooms", list)
        .add(Class::Read, "public_rooms", search)
        .add(Class::Read, "room_visibility", visibility)
        .add(Class::Write, "set_room_visibility", set_visibility)
}

/// `GET /_matrix/client/v3/publicRooms` — everybody.
async fn list(
    State(public_rooms): State<PublicRooms>,
    State(users): State<Users>,
    Ruma(request): Ruma<get_public_rooms::Request>,
) -> Result<Ruma<get_public_rooms::Response>, ApiError> {
    is_here(&users, request.server.as_deref())?;
    let slice = Slice::of(request.since.as_deref(), request.limit)?;
    let page = public_rooms.page(&Filter::new(), slice).await?;
    let mut response = get_public_rooms::Response::new(page.rooms);
    response.next_batch = page.next;
    response.prev_batch = page.previous;
    response.total_room_count_estimate = UInt::try_from(page.total).ok();
    Ok(Ruma(response))
}

/// `POST /_matrix/client/v3/publicRooms` — any user.
async fn search(
    State(public_rooms): State<PublicRooms>,
    State(users): State<Users>,
    _: Session,
    Ruma(request): Ruma<get_public_rooms_filtered::Request>,
) -> Result<Ruma<get_public_rooms_filtered::Response>, ApiError> {
    is_here(&users, request.server.as_deref())?;
    let slice = Slice::of(request.since.as_deref(), request.limit)?;
    let page = public_rooms.page(&request.filter, slice).await?;
    let mut response = get_public_rooms_filtered::Response::new();
    response.chunk = page.rooms;
    response.next_batch = page.next;
    response.prev_batch = page.previous;
    response.total_room_count_estimate = UInt::try_from(page.total).ok();
    Ok(Ruma(response))
}

fn is_here(users: &Users, server: Option<&ServerName>) -> Result<(), ApiError> {
    if server.is_none_or(|server| server == users.server_name()) {
        return Ok(());
    }
    Err(ApiError::not_found(
        "this server does not reach other servers yet",
    ))
}

/// `GET /_matrix/client/v3/directory/list/room/{roomId}` — everybody.
async fn visibility(
    State(reader): State<RoomReader>,
    Ruma(request): Ruma<get_room_visibility::Request>,
) -> Result<Ruma<get_room_visibility::Response>, ApiError> {
    let known = reader.head(&request.room_id).await?;
    known.ok_or_else(|| ApiError::not_found("there is no such room"))?;
    let visibility = if reader.is_published(&request.room_id).await? {
        Visibility::Public
    } else {
        Visibility::Private
    };
    Ok(Ruma(get_room_visibility::Response::new(visibility)))
}

/// `PUT /_matrix/client/v3/directory/list/room/{roomId}` — members who may set the room's
/// canonical alias, administrators.
async fn set_visibility(
    State(rooms): State<Rooms>,
    State(views): State<RoomViews>,
    session: Session,
    Ruma(request): Ruma<set_room_visibility::Request>,
) -> Result<Ruma<set_room_visibility::Response>, ApiError> {
    if !session.admin {
        let view = views.open(&session, &request.room_id).await?;
        view.joined()?;
        let (_, levels) = view.power_levels().await?;
        if !levels.user_can_send_state(&session.user_id, StateEventType::RoomCanonicalAlias) {
            return Err(ApiError::forbidden("you may not publish this room"));
        }
    }
    let public = match request.visibility {
        Visibility::Public => true,
        Visibility::Private => false,
        _ => return Err(ApiError::invalid_param("there is no such visibility")),
    };
    rooms.publish(&request.room_id, public).await?;
    Ok(Ruma(set_room_visibility::Response::new()))
}
