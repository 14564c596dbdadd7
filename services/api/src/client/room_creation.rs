//! [Creation](https://spec.matrix.org/v1.16/client-server-api/#creation).

use axum::extract::State;
use bytes::Bytes;
use hanse_room::{NewRoom, RoomError, Rooms};
use hanse_user::CreateAliasError;
use ruma::{
    OwnedRoomAliasId, OwnedRoomId, RoomAliasId, RoomVersionId,
    api::{
        client::room::{
            Visibility,
            create_room::v3::{self as create_room},
        },
        error::ErrorKind,
    },
};
use serde::Deserialize;
use serde_json::Value as JsonValue;

use super::Endpoints;
use crate::{
    admission::Class,
    aliases::Aliases,
    error::ApiError,
    exchange::{PreparedRequest, Ruma, RumaPrepared},
    member_profiles::MemberProfiles,
    memberships::{Invitation, Memberships},
    rates::Rates,
    session::Session,
};

/// Most users invited at once.
const INVITES_MAX: usize = 100;

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes.add(Class::Write, "create_room", create)
}

impl PreparedRequest for create_room::Request {
    /// A text that can be no version is still an unsupported version.
    fn prepare(body: Bytes) -> Result<Bytes, ApiError> {
        #[derive(Deserialize)]
        struct Wanted {
            room_version: Option<JsonValue>,
        }
        let wanted: Result<Wanted, _> = serde_json::from_slice(&body);
        let version = wanted.ok().and_then(|wanted| wanted.room_version);
        match version.as_ref().and_then(JsonValue::as_str) {
            Some(text) if RoomVersionId::try_from(text).is_err() => Err(ApiError::bad_request(
                ErrorKind::UnsupportedRoomVersion,
                "this is no room version",
            )),
            _ => Ok(body),
        }
    }
}

/// `POST /_matrix/client/v3/createRoom` — any user.
async fn create(
    State(rooms): State<Rooms>,
    State(aliases): State<Aliases>,
    State(profiles): State<MemberProfiles>,
    State(memberships): State<Memberships>,
    State(rates): State<Rates>,
    session: Session,
    RumaPrepared(request): RumaPrepared<create_room::Request>,
) -> Result<Ruma<create_room::Response>, ApiError> {
    rates.room_creation(&session.user_id)?;
    may_invite(&memberships, &request)?;
    let alias = free_alias(&aliases, request.room_alias_name.as_deref()).await?;
    let new = NewRoom {
        creator: session.user_id.clone(),
        profile: profiles.content(&session.user_id).await?,
        alias: alias.clone(),
        request: request.clone(),
    };
    let room_id = rooms.create(new).await.map_err(refused)?;
    if let Some(old) = predecessor(&request) {
        let user_id = &session.user_id;
        memberships.carry_over(user_id, &old, &room_id).await?;
    }
    if let Some(alias) = alias {
        aliases
            .create(&alias, &room_id, &session.user_id)
            .await
            .map_err(taken)?;
    }
    if request.visibility == Visibility::Public {
        rooms.publish(&room_id, true).await?;
    }
    for user_id in &request.invite {
        let invitation = Invitation {
            reason: None,
            is_direct: request.is_direct,
        };
        memberships
            .invite(&session.user_id, &room_id, user_id, invitation)
            .await?;
    }
    Ok(Ruma(create_room::Response::new(room_id)))
}

/// The room that the new one replaces, by what its creator says.
fn predecessor(request: &create_room::Request) -> Option<OwnedRoomId> {
    #[derive(Deserialize)]
    struct Predecessor {
        room_id: OwnedRoomId,
    }
    let content = request.creation_content.as_ref()?;
    let predecessor = content.get_field::<Predecessor>("predecessor").ok()??;
    Some(predecessor.room_id)
}

fn may_invite(memberships: &Memberships, request: &create_room::Request) -> Result<(), ApiError> {
    if !request.invite_3pid.is_empty() {
        return Err(ApiError::invalid_param(
            "this server cannot invite by third-party identifier",
        ));
    }
    if request.invite.len() > INVITES_MAX {
        let text = format!("at most {INVITES_MAX} users can be invited at once");
        return Err(ApiError::invalid_param(text));
    }
    request
        .invite
        .iter()
        .try_for_each(|user_id| memberships.can_reach(user_id))
}

/// The alias that is asked for, if nobody has it.
async fn free_alias(
    aliases: &Aliases,
    name: Option<&str>,
) -> Result<Option<OwnedRoomAliasId>, ApiError> {
    let Some(name) = name else { return Ok(None) };
    let alias = RoomAliasId::parse(format!("#{name}:{}", aliases.users.server_name()))
        .map_err(|error| ApiError::invalid_param(format!("room_alias_name: {error}")))?;
    if aliases.users.alias(&alias).await?.is_some() {
        return Err(in_use());
    }
    Ok(Some(alias))
}

fn taken(error: CreateAliasError) -> ApiError {
    match error {
        CreateAliasError::Taken => in_use(),
        other => other.into(),
    }
}

fn in_use() -> ApiError {
    ApiError::bad_request(ErrorKind::RoomInUse, "the alias is taken")
}

/// What the room's own rules refuse is an impossible wish, not a lack of rights.
fn refused(error: RoomError) -> ApiError {
    match error {
        RoomError::Forbidden { reason } => {
            ApiError::bad_request(ErrorKind::InvalidRoomState, reason)
        }
        other => other.into(),
    }
}
