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
    events::tag::{TagEventContent, TagName, Tags},
};
use serde_json::value::{RawValue, to_raw_value};

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
    let (tag, info) = (TagName::from(request.tag), request.tag_info);
    let edit = |tags: &mut Tags| {
        tags.insert(tag.clone(), info.clone());
        true
    };
    change(&users, &request.user_id, &request.room_id, edit).await?;
    Ok(Ruma(create_tag::Response::new()))
}

/// `DELETE /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}` — the user themself.
async fn delete(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<delete_tag::Request>,
) -> Result<Ruma<delete_tag::Response>, ApiError> {
    session.only(&request.user_id)?;
    let tag = TagName::from(request.tag);
    let edit = |tags: &mut Tags| tags.remove(&tag).is_some();
    change(&users, &request.user_id, &request.room_id, edit).await?;
    Ok(Ruma(delete_tag::Response::new()))
}

async fn load(users: &Users, user_id: &UserId, room_id: &RoomId) -> Result<Tags, ApiError> {
    let datum = users.account_data(user_id, Some(room_id), TAGS).await?;
    Ok(tags_of(datum.as_ref().map(|datum| &*datum.content)))
}

/// The tags in a piece of account data; what another client broke with its own idea of them counts as
/// none.
fn tags_of(content: Option<&RawValue>) -> Tags {
    let content = content.and_then(|content| serde_json::from_str(content.get()).ok());
    content
        .map(|content: TagEventContent| content.tags)
        .unwrap_or_default()
}

/// Changes a room's tags by an edit that says whether it changed anything.
async fn change(
    users: &Users,
    user_id: &UserId,
    room_id: &RoomId,
    edit: impl Fn(&mut Tags) -> bool,
) -> Result<(), ApiError> {
    let edited = |content: Option<&RawValue>| {
        let mut tags = tags_of(content);
        if !edit(&mut tags) {
            return Ok(None);
        }
        let content = to_raw_value(&TagEventContent::new(tags));
        let content =
            content.map_err(|error| ApiError::bad_request(ErrorKind::BadJson, error.to_string()));
        content.map(Some)
    };
    users
        .edit_account_data(user_id, Some(room_id), TAGS, edited)
        .await
}
