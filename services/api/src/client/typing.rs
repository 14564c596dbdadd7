//! [Typing notifications](https://spec.matrix.org/v1.16/client-server-api/#typing-notifications).

use axum::extract::State;
use hanse_room::{RoomReader, Typing};
use ruma::{
    api::client::typing::create_typing_event::v3 as create_typing_event,
    events::room::member::MembershipState,
};

use super::Endpoints;
use crate::{
    admission::Class, error::ApiError, exchange::Ruma, room_view::not_there, session::Session,
};

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes.add(Class::Write, "typing", type_in)
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}` — the user themself, while joined.
async fn type_in(
    State(typing): State<Typing>,
    State(reader): State<RoomReader>,
    session: Session,
    Ruma(request): Ruma<create_typing_event::Request>,
) -> Result<Ruma<create_typing_event::Response>, ApiError> {
    session.only(&request.user_id)?;
    let room = reader.user_room(&session.user_id, &request.room_id).await?;
    if room.is_none_or(|room| room.membership != MembershipState::Join) {
        return Err(not_there());
    }
    let lasts = match request.state {
        create_typing_event::Typing::Yes(info) => Some(info.timeout),
        create_typing_event::Typing::No => None,
    };
    typing.set(&request.room_id, &session.user_id, lasts);
    Ok(Ruma(create_typing_event::Response::new()))
}
