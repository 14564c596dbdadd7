//! [Typing notifications](https://spec.matrix.org/v1.16/client-server-api/#typing-notifications).

use axum::extract::State;
use bytes::Bytes;
use hanse_room::{RoomReader, Typing};
use ruma::{
    api::client::typing::create_typing_event::v3 as create_typing_event,
    events::room::member::MembershipState,
};
use serde::Deserialize;

use super::Endpoints;
use crate::{
    admission::Class,
    error::ApiError,
    exchange::{PreparedRequest, Ruma, RumaPrepared},
    rates::Rates,
    room_view::not_there,
    session::Session,
};

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes.add(Class::Write, "typing", type_in)
}

/// How long somebody types who does not say.
const LASTS_MS_DEFAULT: u64 = 30_000;

impl PreparedRequest for create_typing_event::Request {
    /// ruma wants a `timeout` with every `typing: true`; in the specification it is optional.
    fn prepare(body: Bytes) -> Result<Bytes, ApiError> {
        #[derive(Deserialize)]
        struct Given {
            typing: bool,
            timeout: Option<u64>,
        }
        match serde_json::from_slice::<Given>(&body) {
            Ok(Given {
                typing: true,
                timeout: None,
            }) => Ok(format!(r#"{{"typing":true,"timeout":{LASTS_MS_DEFAULT}}}"#).into()),
            _ => Ok(body),
        }
    }
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}` — the user themself, while joined.
async fn type_in(
    State(typing): State<Typing>,
    State(reader): State<RoomReader>,
    State(rates): State<Rates>,
    session: Session,
    RumaPrepared(request): RumaPrepared<create_typing_event::Request>,
) -> Result<Ruma<create_typing_event::Response>, ApiError> {
    session.only(&request.user_id)?;
    rates.typing(&session.user_id)?;
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
