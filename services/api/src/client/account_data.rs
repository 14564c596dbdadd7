//! [Client config](https://spec.matrix.org/v1.16/client-server-api/#client-config): account data.

use axum::extract::State;
use hanse_user::{SERVER_OWNED_TYPES, Users};
use http::StatusCode;
use ruma::{
    RoomId, UserId,
    api::{
        client::config::{
            get_global_account_data::v3 as get_global, get_room_account_data::v3 as get_room,
            set_global_account_data::v3 as set_global, set_room_account_data::v3 as set_room,
        },
        error::ErrorKind,
    },
    serde::Raw,
};
use serde_json::{json, value::to_raw_value};

use super::{Endpoints, push_rules::complete};
use crate::{admission::Class, error::ApiError, exchange::Ruma, session::Session};

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes
        .add(Class::Read, "account_data", of_account)
        .add(Class::Read, "room_account_data", of_room)
        .add(Class::Write, "set_account_data", set_of_account)
        .add(Class::Write, "set_room_account_data", set_of_room)
}

/// `GET /_matrix/client/v3/user/{userId}/account_data/{type}` — the user themself.
async fn of_account(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<get_global::Request>,
) -> Result<Ruma<get_global::Response>, ApiError> {
    session.only(&request.user_id)?;
    let data_type = request.event_type.to_string();
    let content = match data_type.as_str() {
        "m.push_rules" => push_rules(&users, &request.user_id).await?,
        _ => get(&users, &request.user_id, None, &data_type).await?,
    };
    Ok(Ruma(get_global::Response::new(content.cast_unchecked())))
}

/// `GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}` — the user themself.
async fn of_room(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<get_room::Request>,
) -> Result<Ruma<get_room::Response>, ApiError> {
    session.only(&request.user_id)?;
    let data_type = request.event_type.to_string();
    let content = get(&users, &request.user_id, Some(&request.room_id), &data_type).await?;
    Ok(Ruma(get_room::Response::new(content.cast_unchecked())))
}

/// `PUT /_matrix/client/v3/user/{userId}/account_data/{type}` — the user themself.
async fn set_of_account(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<set_global::Request>,
) -> Result<Ruma<set_global::Response>, ApiError> {
    session.only(&request.user_id)?;
    let data_type = request.event_type.to_string();
    clients_may_set(&data_type)?;
    users
        .put_account_data(&request.user_id, None, &data_type, request.data.json())
        .await?;
    Ok(Ruma(set_global::Response::new()))
}

/// `PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}` — the user themself.
async fn set_of_room(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<set_room::Request>,
) -> Result<Ruma<set_room::Response>, ApiError> {
    session.only(&request.user_id)?;
    let data_type = request.event_type.to_string();
    clients_may_set(&data_type)?;
    let room_id = Some(&*request.room_id);
    users
        .put_account_data(&request.user_id, room_id, &data_type, request.data.json())
        .await?;
    Ok(Ruma(set_room::Response::new()))
}

async fn get(
    users: &Users,
    user_id: &UserId,
    room_id: Option<&RoomId>,
    data_type: &str,
) -> Result<Raw<()>, ApiError> {
    let datum = users.account_data(user_id, room_id, data_type).await?;
    let datum = datum.ok_or_else(|| ApiError::not_found("nothing of this type is set"))?;
    Ok(Raw::from_json(datum.content))
}

/// The push rules as account data; there are some even before the user has set any.
async fn push_rules(users: &Users, user_id: &UserId) -> Result<Raw<()>, ApiError> {
    let rules = users.push_rules(user_id).await?;
    let content = to_raw_value(&json!({ "global": complete(&rules.ruleset)? }));
    Ok(Raw::from_json(
        content.map_err(|error| ApiError::internal(&error))?,
    ))
}

fn clients_may_set(data_type: &str) -> Result<(), ApiError> {
    if !SERVER_OWNED_TYPES.contains(&data_type) {
        return Ok(());
    }
    let text = format!("{data_type} has an endpoint of its own");
    Err(ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        ErrorKind::BadJson,
        text,
    ))
}
