//! [Room membership](https://spec.matrix.org/v1.16/client-server-api/#room-membership).

use axum::extract::State;
use hanse_room::MembershipAction;
use ruma::api::client::{
    knock::knock_room::v3 as knock_room,
    membership::{
        ban_user::v3 as ban_user,
        forget_room::v3 as forget_room,
        invite_user::v3::{self as invite_user, InvitationRecipient},
        join_room_by_id::v3 as join_by_id,
        join_room_by_id_or_alias::v3 as join_by_id_or_alias,
        kick_user::v3 as kick_user,
        leave_room::v3 as leave_room,
        unban_user::v3 as unban_user,
    },
};

use super::Endpoints;
use crate::{
    admission::Class,
    error::ApiError,
    exchange::Ruma,
    memberships::{Invitation, Memberships},
    rates::Rates,
    session::Session,
};

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes
        .add(Class::Write, "join", join)
        .add(Class::Write, "join", join_named)
        .add(Class::Write, "knock", knock)
        .add(Class::Write, "leave", leave)
        .add(Class::Write, "invite", invite)
        .add(Class::Write, "kick", kick)
        .add(Class::Write, "ban", ban)
        .add(Class::Write, "unban", unban)
        .add(Class::Write, "forget", forget)
}

/// `POST /_matrix/client/v3/rooms/{roomId}/join` — any user whom the room lets in.
async fn join(
    State(memberships): State<Memberships>,
    State(rates): State<Rates>,
    session: Session,
    Ruma(request): Ruma<join_by_id::Request>,
) -> Result<Ruma<join_by_id::Response>, ApiError> {
    rates.join(&session.user_id)?;
    let room_id = memberships.room(request.room_id.into()).await?;
    let action = MembershipAction::Join;
    memberships
        .own(&session.user_id, &room_id, action, request.reason)
        .await?;
    Ok(Ruma(join_by_id::Response::new(room_id)))
}

/// `POST /_matrix/client/v3/join/{roomIdOrAlias}` — any user whom the room lets in.
async fn join_named(
    State(memberships): State<Memberships>,
    State(rates): State<Rates>,
    session: Session,
    Ruma(request): Ruma<join_by_id_or_alias::Request>,
) -> Result<Ruma<join_by_id_or_alias::Response>, ApiError> {
    rates.join(&session.user_id)?;
    let room_id = memberships.room(request.room_id_or_alias).await?;
    let action = MembershipAction::Join;
    memberships
        .own(&session.user_id, &room_id, action, request.reason)
        .await?;
    Ok(Ruma(join_by_id_or_alias::Response::new(room_id)))
}

/// `POST /_matrix/client/v3/knock/{roomIdOrAlias}` — any user, where the room allows knocking.
async fn knock(
    State(memberships): State<Memberships>,
    State(rates): State<Rates>,
    session: Session,
    Ruma(request): Ruma<knock_room::Request>,
) -> Result<Ruma<knock_room::Response>, ApiError> {
    rates.join(&session.user_id)?;
    let room_id = memberships.room(request.room_id_or_alias).await?;
    let action = MembershipAction::Knock;
    memberships
        .own(&session.user_id, &room_id, action, request.reason)
        .await?;
    Ok(Ruma(knock_room::Response::new(room_id)))
}

/// `POST /_matrix/client/v3/rooms/{roomId}/leave` — who is in the room, invited or knocking.
async fn leave(
    State(memberships): State<Memberships>,
    session: Session,
    Ruma(request): Ruma<leave_room::Request>,
) -> Result<Ruma<leave_room::Response>, ApiError> {
    let action = MembershipAction::Leave;
    memberships
        .own(&session.user_id, &request.room_id, action, request.reason)
        .await?;
    Ok(Ruma(leave_room::Response::new()))
}

/// `POST /_matrix/client/v3/rooms/{roomId}/invite` — members with the power to.
async fn invite(
    State(memberships): State<Memberships>,
    State(rates): State<Rates>,
    session: Session,
    Ruma(request): Ruma<invite_user::Request>,
) -> Result<Ruma<invite_user::Response>, ApiError> {
    rates.invite(&session.user_id)?;
    let InvitationRecipient::UserId(invited) = request.recipient else {
        return Err(ApiError::invalid_param(
            "this server cannot invite by third-party identifier",
        ));
    };
    let invitation = Invitation {
        reason: invited.reason,
        is_direct: false,
    };
    memberships
        .invite(
            &session.user_id,
            &request.room_id,
            &invited.user_id,
            invitation,
        )
        .await?;
    Ok(Ruma(invite_user::Response::new()))
}

/// `POST /_matrix/client/v3/rooms/{roomId}/kick` — members with the power to.
async fn kick(
    State(memberships): State<Memberships>,
    session: Session,
    Ruma(request): Ruma<kick_user::Request>,
) -> Result<Ruma<kick_user::Response>, ApiError> {
    let kick_user::Request {
        room_id,
        user_id,
        reason,
        ..
    } = request;
    let action = MembershipAction::Kick;
    memberships
        .moderate(&session.user_id, &room_id, &user_id, action, reason)
        .await?;
    Ok(Ruma(kick_user::Response::new()))
}

/// `POST /_matrix/client/v3/rooms/{roomId}/ban` — members with the power to.
async fn ban(
    State(memberships): State<Memberships>,
    session: Session,
    Ruma(request): Ruma<ban_user::Request>,
) -> Result<Ruma<ban_user::Response>, ApiError> {
    let ban_user::Request {
        room_id,
        user_id,
        reason,
        ..
    } = request;
    let action = MembershipAction::Ban;
    memberships
        .moderate(&session.user_id, &room_id, &user_id, action, reason)
        .await?;
    Ok(Ruma(ban_user::Response::new()))
}

/// `POST /_matrix/client/v3/rooms/{roomId}/unban` — members with the power to.
async fn unban(
    State(memberships): State<Memberships>,
    session: Session,
    Ruma(request): Ruma<unban_user::Request>,
) -> Result<Ruma<unban_user::Response>, ApiError> {
    let unban_user::Request {
        room_id,
        user_id,
        reason,
        ..
    } = request;
    let action = MembershipAction::Unban;
    memberships
        .moderate(&session.user_id, &room_id, &user_id, action, reason)
        .await?;
    Ok(Ruma(unban_user::Response::new()))
}

/// `POST /_matrix/client/v3/rooms/{roomId}/forget` — who is out of the room.
async fn forget(
    State(memberships): State<Memberships>,
    session: Session,
    Ruma(request): Ruma<forget_room::Request>,
) -> Result<Ruma<forget_room::Response>, ApiError> {
    memberships
        .forget(&session.user_id, &request.room_id)
        .await?;
    Ok(Ruma(forget_room::Response::new()))
}
