//! [Room tagging](https://spec.matrix.org/v1.16/client-server-api/#room-tagging): account data of a
//! type of its own.

use axum::extract::State;
use hanse_user::Users;
use ruma::{
    RoomId, UserId,
    api::{
        client::tag::{
            create_tag::v3 as create_tag, delete_tag::v3 as delete_tag, get_tags::v3 as get_tags,
        },
        error::ErrorKind,
    },
    events::tag::{TagEventContent, Tags},
};
use serde_json::value::to_raw_value;

use super::Endpoints;
use crate::{admission::Class, error::ApiError, exchange::Ruma, session::Session};

/// The type of the account data.
const TAGS: &str = "m.tag";

/// Longest tag, in bytes.
const TAG_BYTES_MAX: usize = 255;

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes
        .add(Class::Read, "tags", list)
        .add(Class::Write, "create_tag", create)
        .add(Class::Write, "delete_tag", delete)
}

/// `GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags` — the user themself.
async fn list(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<get_tags::Request>,
) -> Result<Ruma<get_tags::Response>, ApiError> {
    session.only(&request.user_id)?;
    let tags = load(&users, &request.user_id, &request.room_id).await?;
    Ok(Ruma(get_tags::Response::new(tags)))
}

/// `PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}` — the user themself.
async fn create(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<create_tag::Request>,
) -> Result<Ruma<create_tag::Response>, ApiError> {
    session.only(&request.user_id)?;
    if request.tag.len() > TAG_BYTES_MAX {
        return Err(ApiError::invalid_param(format!(
            "a tag has at most {TAG_BYTES_MAX} bytes"
        )));
    }
    let mut tags = load(&users, &request.user_id, &request.room_id).await?;
    tags.insert(request.tag.into(), request.tag_info);
    save(&users, &request.user_id, &request.room_id, tags).await?;
    Ok(Ruma(create_tag::Response::new()))
}

/// `DELETE /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}` — the user themself.
async fn delete(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<delete_tag::Request>,
) -> Result<Ruma<delete_tag::Response>, ApiError> {
    session.only(&request.user_id)?;
    let mut tags = load(&users, &request.user_id, &request.room_id).await?;
    if tags.remove(&request.tag.into()).is_some() {
        save(&users, &request.user_id, &request.room_id, tags).await?;
    }
    Ok(Ruma(delete_tag::Response::new()))
}

/// The tags of a room; what another client broke with its own idea of them counts as none.
async fn load(users: &Users, user_id: &UserId, room_id: &RoomId) -> Result<Tags, ApiError> {
    let datum = users.account_data(user_id, Some(room_id), TAGS).await?;
    let content = datum.and_then(|datum| serde_json::from_str(datum.content.get()).ok());
    Ok(content
        .map(|content: TagEventContent| content.tags)
        .unwrap_or_default())
}

async fn save(
    users: &Users,
    user_id: &UserId,
    room_id: &RoomId,
    tags: Tags,
) -> Result<(), ApiError> {
    let content = to_raw_value(&TagEventContent::new(tags))
        .map_err(|error| ApiError::bad_request(ErrorKind::BadJson, error.to_string()))?;
    users
        .put_account_data(user_id, Some(room_id), TAGS, &content)
        .await?;
    Ok(())
}
