//! [Account management]: the session's user, passwords, closing the account, [3PIDs], [OpenID].
//!
//! [Account management]: https://spec.matrix.org/v1.16/client-server-api/#account-registration-and-management
//! [3PIDs]: https://spec.matrix.org/v1.16/client-server-api/#adding-account-administrative-contact-information
//! [OpenID]: https://spec.matrix.org/v1.16/client-server-api/#openid

use axum::extract::State;
use hanse_user::Users;
use ruma::{
    api::client::account::{
        ThirdPartyIdRemovalStatus, change_password::v3 as change_password,
        deactivate::v3 as deactivate, get_3pids::v3 as get_3pids,
        request_openid_token::v3 as request_openid_token, whoami::v3 as whoami,
    },
    authentication::TokenType,
};

use super::Endpoints;
use crate::{
    admission::Class, error::ApiError, exchange::Ruma, member_profiles::MemberProfiles,
    session::Session, uia::Uia,
};

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes
        .add(Class::Read, "whoami", who_am_i)
        .add(Class::Write, "change_password", set_password)
        .add(Class::Write, "deactivate", close)
        .add(Class::Read, "3pids", third_party_ids)
        .add(Class::Write, "openid_token", openid_token)
}

/// `GET /_matrix/client/v3/account/whoami` — any user.
async fn who_am_i(session: Session, _: Ruma<whoami::Request>) -> Ruma<whoami::Response> {
    let mut response = whoami::Response::new(session.user_id.clone(), session.guest);
    response.device_id = Some(session.device_id.clone());
    Ruma(response)
}

/// `POST /_matrix/client/v3/account/password` — any user, with interactive authentication.
async fn set_password(
    State(users): State<Users>,
    uia: Uia,
    session: Session,
    Ruma(request): Ruma<change_password::Request>,
) -> Result<Ruma<change_password::Response>, ApiError> {
    uia.of_user(&session, request.auth.as_ref()).await?;
    let (user_id, keep) = (&session.user_id, Some(&*session.device_id));
    users
        .change_password(user_id, &request.new_password, request.logout_devices, keep)
        .await?;
    Ok(Ruma(change_password::Response::new()))
}

/// `POST /_matrix/client/v3/account/deactivate` — any user, with interactive authentication.
async fn close(
    State(users): State<Users>,
    State(members): State<MemberProfiles>,
    uia: Uia,
    session: Session,
    Ruma(request): Ruma<deactivate::Request>,
) -> Result<Ruma<deactivate::Response>, ApiError> {
    uia.of_user(&session, request.auth.as_ref()).await?;
    users.deactivate(&session.user_id, request.erase).await?;
    members.leave_everything(session.user_id.clone());
    Ok(Ruma(deactivate::Response::new(
        ThirdPartyIdRemovalStatus::NoSupport,
    )))
}

/// `GET /_matrix/client/v3/account/3pid` — any user. There are none yet.
async fn third_party_ids(_: Session, _: Ruma<get_3pids::Request>) -> Ruma<get_3pids::Response> {
    Ruma(get_3pids::Response::new(Vec::new()))
}

/// `POST /_matrix/client/v3/user/{userId}/openid/request_token` — the user themself.
async fn openid_token(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<request_openid_token::Request>,
) -> Result<Ruma<request_openid_token::Response>, ApiError> {
    session.only(&request.user_id)?;
    let made = users.create_openid_token(&session.user_id).await?;
    let server_name = users.server_name().to_owned();
    let response = request_openid_token::Response::new(
        made.token,
        TokenType::Bearer,
        server_name,
        made.expires_in,
    );
    Ok(Ruma(response))
}
