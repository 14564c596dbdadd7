//! [Profiles](https://spec.matrix.org/v1.16/client-server-api/#profiles).

use axum::extract::State;
use hanse_user::{ProfileChange, Users};
use ruma::{
    OwnedUserId,
    api::client::profile::{
        delete_profile_field::v3 as delete_profile_field, get_profile::v3 as get_profile,
        get_profile_field::v3 as get_profile_field, set_profile_field::v3 as set_profile_field,
    },
    profile::{ProfileFieldName, ProfileFieldValue},
};

use super::Endpoints;
use crate::{
    admission::Class, error::ApiError, exchange::Ruma, member_profiles::MemberProfiles,
    session::Session,
};

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes
        .add(Class::Read, "profile", profile)
        .add(Class::Read, "profile_field", field)
        .add(Class::Write, "set_profile_field", set)
        .add(Class::Write, "delete_profile_field", delete)
}

/// `GET /_matrix/client/v3/profile/{userId}` — everybody.
async fn profile(
    State(users): State<Users>,
    Ruma(request): Ruma<get_profile::Request>,
) -> Result<Ruma<get_profile::Response>, ApiError> {
    let profile = users.profile(&request.user_id).await?;
    let mut response = get_profile::Response::new();
    response.data = profile.ok_or_else(|| ApiError::not_found("there is no such user"))?;
    Ok(Ruma(response))
}

/// `GET /_matrix/client/v3/profile/{userId}/{keyName}` — everybody.
async fn field(
    State(users): State<Users>,
    Ruma(request): Ruma<get_profile_field::Request>,
) -> Result<Ruma<get_profile_field::Response>, ApiError> {
    let value = users
        .profile_field(&request.user_id, &request.field)
        .await?;
    let value = value.ok_or_else(|| ApiError::not_found("nothing is set"))?;
    let value = ProfileFieldValue::new(request.field.as_str(), value);
    let value = value.map_err(|error| ApiError::internal(&error))?;
    Ok(Ruma(get_profile_field::Response::new(value)))
}

/// `PUT /_matrix/client/v3/profile/{userId}/{keyName}` — the user themself.
async fn set(
    State(users): State<Users>,
    State(members): State<MemberProfiles>,
    session: Session,
    Ruma(request): Ruma<set_profile_field::Request>,
) -> Result<Ruma<set_profile_field::Response>, ApiError> {
    session.only(&request.user_id)?;
    let name = request.value.field_name();
    let change = users
        .set_profile_field(&request.user_id, &request.value)
        .await?;
    carry(&members, request.user_id, &name, &change).await?;
    Ok(Ruma(set_profile_field::Response::new()))
}

/// `DELETE /_matrix/client/v3/profile/{userId}/{keyName}` — the user themself.
async fn delete(
    State(users): State<Users>,
    State(members): State<MemberProfiles>,
    session: Session,
    Ruma(request): Ruma<delete_profile_field::Request>,
) -> Result<Ruma<delete_profile_field::Response>, ApiError> {
    session.only(&request.user_id)?;
    let change = users
        .remove_profile_field(&request.user_id, &request.field)
        .await?;
    carry(&members, request.user_id, &request.field, &change).await?;
    Ok(Ruma(delete_profile_field::Response::new()))
}

/// Names and avatars are in the member events of every room that the user is in.
async fn carry(
    members: &MemberProfiles,
    user_id: OwnedUserId,
    field: &ProfileFieldName,
    change: &ProfileChange,
) -> Result<(), ApiError> {
    let in_rooms = [ProfileFieldName::DisplayName, ProfileFieldName::AvatarUrl];
    if change.position.is_none() || !in_rooms.contains(field) {
        return Ok(());
    }
    members.carry_into_rooms(user_id).await
}
