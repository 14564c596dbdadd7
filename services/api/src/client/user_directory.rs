//! [User directory](https://spec.matrix.org/v1.16/client-server-api/#user-directory).

use std::collections::BTreeSet;

use axum::extract::State;
use hanse_log::Position;
use hanse_room::{RoomReader, UserRoom};
use hanse_user::Users;
use ruma::{
    OwnedRoomId, RoomId, UserId,
    api::client::user_directory::search_users::v3 as search_users,
    events::room::{
        join_rules::{JoinRule, RoomJoinRulesEventContent},
        member::MembershipState,
    },
};

use super::Endpoints;
use crate::{admission::Class, error::ApiError, exchange::Ruma, session::Session};

/// Users looked at, of whom those are shown that the searcher may know of.
const USERS_MAX: usize = 50;

/// Rooms of one user that are looked at for a public one.
const ROOMS_MAX: usize = 100;

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes.add(Class::Read, "user_directory", search)
}

/// `POST /_matrix/client/v3/user_directory/search` — any user.
async fn search(
    State(users): State<Users>,
    State(reader): State<RoomReader>,
    session: Session,
    Ruma(request): Ruma<search_users::Request>,
) -> Result<Ruma<search_users::Response>, ApiError> {
    let limit = usize::try_from(u64::from(request.limit)).unwrap_or(USERS_MAX);
    let found = users.search_users(&request.search_term, USERS_MAX).await?;
    let own = joined_rooms(&reader, &session.user_id).await?;
    let mut known = Vec::new();
    for user in found.users {
        if user.user_id != session.user_id && is_known(&reader, &user.user_id, &own).await? {
            known.push(user);
        }
    }
    let limited = found.limited || known.len() > limit;
    known.truncate(limit);
    Ok(Ruma(search_users::Response::new(known, limited)))
}

/// Whether a user shares a room with the searcher, or is in a public one.
async fn is_known(
    reader: &RoomReader,
    user_id: &UserId,
    own: &BTreeSet<OwnedRoomId>,
) -> Result<bool, ApiError> {
    let rooms = joined_rooms(reader, user_id).await?;
    if rooms.iter().any(|room_id| own.contains(room_id)) {
        return Ok(true);
    }
    for room_id in rooms.iter().take(ROOMS_MAX) {
        if is_public(reader, room_id).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn joined_rooms(
    reader: &RoomReader,
    user_id: &UserId,
) -> Result<BTreeSet<OwnedRoomId>, ApiError> {
    let rooms = reader.user_rooms(user_id).await?.into_iter();
    let joined = |room: &UserRoom| room.membership == MembershipState::Join;
    Ok(rooms.filter(joined).map(|room| room.room_id).collect())
}

async fn is_public(reader: &RoomReader, room_id: &RoomId) -> Result<bool, ApiError> {
    let rules = reader
        .state_event(room_id, "m.room.join_rules", "", Position::END)
        .await?;
    let rules = rules.and_then(|event| event.pdu.content_as::<RoomJoinRulesEventContent>().ok());
    Ok(rules.is_some_and(|rules| rules.join_rule == JoinRule::Public))
}
