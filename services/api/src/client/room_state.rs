//! [Getting events for a room](https://spec.matrix.org/v1.16/client-server-api/#getting-events-for-a-room):
//! single events, state and members.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use hanse_log::Position;
use hanse_room::{RoomReader, StateAt, TimelineEvent};
use http::StatusCode;
use ruma::{
    OwnedMxcUri, OwnedUserId,
    api::client::{
        membership::{
            get_member_events::v3 as get_member_events, joined_members::v3 as joined_members,
            joined_rooms::v3 as joined_rooms,
        },
        room::get_room_event::v3 as get_room_event,
        state::{
            get_state_event_for_key::v3::{self as get_state_event_for_key, StateEventFormat},
            get_state_events::v3 as get_state_events,
        },
    },
    events::room::member::{MembershipState, RoomMemberEventContent},
};
use serde::Serialize;

use super::Endpoints;
use crate::{
    admission::Class, error::ApiError, exchange::Ruma, room_view::RoomViews, session::Session,
};

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes
        .add(Class::Read, "event", event)
        .add(Class::Read, "state", state)
        .add(Class::Read, "state_event", state_event)
        .add(Class::Read, "members", members)
        .add(Class::Read, "joined_members", joined)
        .add(Class::Read, "joined_rooms", rooms_of)
}

/// `GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}` — who may see it.
async fn event(
    State(views): State<RoomViews>,
    session: Session,
    Ruma(request): Ruma<get_room_event::Request>,
) -> Result<Ruma<get_room_event::Response>, ApiError> {
    let view = views.open(&session, &request.room_id).await;
    let view = view.map_err(out_of_sight)?;
    let event = view.event(&request.event_id).await?;
    Ok(Ruma(get_room_event::Response::new(
        view.present(&event).await?,
    )))
}

/// 404 where the room is not to be seen: "not found or you do not have permission".
fn out_of_sight(error: ApiError) -> ApiError {
    if error.status() == StatusCode::FORBIDDEN {
        return ApiError::not_found("there is no such event");
    }
    error
}

/// `GET /_matrix/client/v3/rooms/{roomId}/state` — members; for who left, the state of then.
async fn state(
    State(views): State<RoomViews>,
    session: Session,
    Ruma(request): Ruma<get_state_events::Request>,
) -> Result<Ruma<get_state_events::Response>, ApiError> {
    let view = views.open(&session, &request.room_id).await?;
    let events = view.state(view.horizon()).await?;
    let events = events
        .iter()
        .map(|event| view.present_state(event))
        .collect();
    Ok(Ruma(get_state_events::Response::new(events)))
}

/// `GET /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}` — members; for who left,
/// the state of then.
async fn state_event(
    State(views): State<RoomViews>,
    session: Session,
    Ruma(request): Ruma<get_state_event_for_key::Request>,
) -> Result<Ruma<get_state_event_for_key::Response>, ApiError> {
    let view = views.open(&session, &request.room_id).await?;
    let (event_type, key) = (request.event_type.to_string(), &request.state_key);
    let (reader, room_id) = (view.reader(), view.room_id());
    let event = reader
        .state_event(room_id, &event_type, key, view.horizon())
        .await?;
    let event = event.ok_or_else(|| ApiError::not_found("there is no such state"))?;
    let json = match request.format {
        StateEventFormat::Event => view.present_state(&event).into_json(),
        _ => event.pdu.content().to_owned(),
    };
    Ok(Ruma(get_state_event_for_key::Response::new(json)))
}

/// `GET /_matrix/client/v3/rooms/{roomId}/members` — members; for who left, those of then.
async fn members(
    State(views): State<RoomViews>,
    session: Session,
    Ruma(request): Ruma<get_member_events::Request>,
) -> Result<Ruma<get_member_events::Response>, ApiError> {
    let view = views.open(&session, &request.room_id).await?;
    let at = match &request.at {
        Some(token) => view.included(token).await?.min(view.horizon()),
        None => view.horizon(),
    };
    let mut members = view.reader().members(view.room_id(), at).await?;
    members.retain(|member| wanted(member, &request));
    let events = view.bodies(&members).await?;
    let chunk = events
        .iter()
        .map(|event| view.present_state(event).cast_unchecked())
        .collect();
    Ok(Ruma(get_member_events::Response::new(chunk)))
}

fn wanted(member: &StateAt, request: &get_member_events::Request) -> bool {
    let is = |wanted: &MembershipState| member.membership.as_deref() == Some(wanted.as_str());
    request.membership.as_ref().is_none_or(is) && !request.not_membership.as_ref().is_some_and(is)
}

/// `GET /_matrix/client/v3/rooms/{roomId}/joined_members` — joined users.
async fn joined(
    State(views): State<RoomViews>,
    session: Session,
    Ruma(request): Ruma<joined_members::Request>,
) -> Result<Json<JoinedMembers>, ApiError> {
    let view = views.open(&session, &request.room_id).await?;
    view.joined()?;
    let mut members = view.reader().members(view.room_id(), Position::END).await?;
    members.retain(|member| member.membership.as_deref() == Some("join"));
    let events = view.bodies(&members).await?;
    let joined = events.iter().filter_map(member_of).collect();
    Ok(Json(JoinedMembers { joined }))
}

/// ruma's response leaves out what a member has not set; clients look for it all the same.
#[derive(Serialize)]
struct JoinedMembers {
    joined: BTreeMap<OwnedUserId, JoinedMember>,
}

#[derive(Default, Serialize)]
struct JoinedMember {
    display_name: Option<String>,
    avatar_url: Option<OwnedMxcUri>,
}

fn member_of(event: &TimelineEvent) -> Option<(OwnedUserId, JoinedMember)> {
    let user_id = OwnedUserId::try_from(event.pdu.state_key()?).ok()?;
    let content = event.pdu.content_as::<RoomMemberEventContent>();
    let member = content.map(|content| JoinedMember {
        display_name: content.displayname,
        avatar_url: content.avatar_url,
    });
    Some((user_id, member.unwrap_or_default()))
}

/// `GET /_matrix/client/v3/joined_rooms` — any user.
async fn rooms_of(
    State(reader): State<RoomReader>,
    session: Session,
    _: Ruma<joined_rooms::Request>,
) -> Result<Ruma<joined_rooms::Response>, ApiError> {
    let rooms = reader.user_rooms(&session.user_id).await?.into_iter();
    let joined = rooms.filter(|room| room.membership == MembershipState::Join);
    Ok(Ruma(joined_rooms::Response::new(
        joined.map(|room| room.room_id).collect(),
    )))
}
