//! [Login], [refreshing access tokens] and [logout].
//!
//! [Login]: https://spec.matrix.org/v1.16/client-server-api/#login
//! [refreshing access tokens]: https://spec.matrix.org/v1.16/client-server-api/#refreshing-access-tokens
//! [logout]: https://spec.matrix.org/v1.16/client-server-api/#post_matrixclientv3logout

use axum::extract::State;
use bytes::Bytes;
use hanse_user::{NewSession, Proof, Users};
use ruma::{
    OwnedUserId, UserId,
    api::{
        client::{
            session::{
                get_login_token::v1 as get_login_token,
                get_login_types::v3 as get_login_types,
                login::v3::{self as login, LoginInfo, Password},
                logout::v3 as logout,
                logout_all::v3 as logout_all,
                refresh_token::v3 as refresh_token,
            },
            uiaa::UserIdentifier,
        },
        error::ErrorKind,
    },
};

use super::Endpoints;
use crate::{
    admission::Class,
    error::ApiError,
    exchange::{PreparedRequest, Ruma, RumaPrepared},
    rates::Rates,
    session::{Address, Session},
    uia::Uia,
};

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes
        .add(Class::Read, "login_types", login_types)
        .add(Class::Write, "login", log_in)
        .add(Class::Write, "login_token", login_token)
        .add(Class::Write, "refresh", refresh)
        .add(Class::Write, "logout", log_out)
        .add(Class::Write, "logout_all", log_out_everywhere)
}

impl PreparedRequest for login::Request {
    /// ruma looks `type` up without asking whether it is there, and panics.
    fn prepare(body: Bytes) -> Result<Bytes, ApiError> {
        #[derive(serde::Deserialize)]
        struct WithType {
            #[serde(rename = "type")]
            _type: String,
        }
        match serde_json::from_slice::<WithType>(&body) {
            Ok(_) => Ok(body),
            Err(error) => Err(ApiError::bad_request(ErrorKind::BadJson, error.to_string())),
        }
    }
}

/// `GET /_matrix/client/v3/login` — everybody.
async fn login_types(_: Ruma<get_login_types::Request>) -> Ruma<get_login_types::Response> {
    let password = get_login_types::PasswordLoginType::new();
    let mut token = get_login_types::TokenLoginType::new();
    token.get_login_token = true;
    let flows = vec![
        get_login_types::LoginType::Password(password),
        get_login_types::LoginType::Token(token),
    ];
    Ruma(get_login_types::Response::new(flows))
}

/// `POST /_matrix/client/v3/login` — everybody.
async fn log_in(
    State(users): State<Users>,
    State(rates): State<Rates>,
    Address(address): Address,
    RumaPrepared(request): RumaPrepared<login::Request>,
) -> Result<Ruma<login::Response>, ApiError> {
    let proof = match &request.login_info {
        LoginInfo::Password(given) => {
            let user_id = named_user(&users, given)?;
            rates.login(address, Some(&user_id))?;
            Proof::Password(users.verify_password(&user_id, &given.password).await?)
        }
        LoginInfo::Token(given) => {
            rates.login(address, None)?;
            Proof::LoginToken(given.token.clone())
        }
        _ => {
            return Err(ApiError::bad_request(
                ErrorKind::Unknown,
                "no such login type",
            ));
        }
    };
    let new = NewSession {
        proof,
        device_id: request.device_id,
        initial_display_name: request.initial_device_display_name,
        refresh: request.refresh_token,
    };
    let session = users.start_session(new).await?;
    let mut response = login::Response::new(
        session.user_id,
        session.tokens.access_token,
        session.device_id,
    );
    response.refresh_token = session.tokens.refresh_token;
    response.expires_in = session.tokens.expires_in;
    Ok(Ruma(response))
}

/// `POST /_matrix/client/v1/login/get_token` — any user, with interactive authentication.
async fn login_token(
    State(users): State<Users>,
    uia: Uia,
    session: Session,
    Ruma(request): Ruma<get_login_token::Request>,
) -> Result<Ruma<get_login_token::Response>, ApiError> {
    uia.of_user(&session, request.auth.as_ref()).await?;
    let made = users.create_login_token(&session.user_id).await?;
    Ok(Ruma(get_login_token::Response::new(
        made.expires_in,
        made.token,
    )))
}

/// `POST /_matrix/client/v3/refresh` — whoever has a refresh token.
async fn refresh(
    State(users): State<Users>,
    Ruma(request): Ruma<refresh_token::Request>,
) -> Result<Ruma<refresh_token::Response>, ApiError> {
    let session = users.refresh(&request.refresh_token).await?;
    let mut response = refresh_token::Response::new(session.tokens.access_token);
    response.refresh_token = session.tokens.refresh_token;
    response.expires_in_ms = session.tokens.expires_in;
    Ok(Ruma(response))
}

/// `POST /_matrix/client/v3/logout` — any user.
async fn log_out(
    State(users): State<Users>,
    session: Session,
    _: Ruma<logout::Request>,
) -> Result<Ruma<logout::Response>, ApiError> {
    users.logout(&session).await?;
    Ok(Ruma(logout::Response::new()))
}

/// `POST /_matrix/client/v3/logout/all` — any user.
async fn log_out_everywhere(
    State(users): State<Users>,
    session: Session,
    _: Ruma<logout_all::Request>,
) -> Result<Ruma<logout_all::Response>, ApiError> {
    users.logout_all(&session.user_id).await?;
    Ok(Ruma(logout_all::Response::new()))
}

/// Whose password this is said to be. A name that no user can have is refused like a wrong
/// password.
fn named_user(users: &Users, given: &Password) -> Result<OwnedUserId, ApiError> {
    #[expect(deprecated, reason = "clients of before r0.4 name the user here")]
    let old = given.user.as_deref();
    let name = match (&given.identifier, old) {
        (Some(UserIdentifier::Matrix(matrix)), _) => matrix.user.as_str(),
        (None, Some(user)) => user,
        (None, None) => {
            let text = "the identifier is missing";
            return Err(ApiError::bad_request(ErrorKind::MissingParam, text));
        }
        _ => {
            return Err(ApiError::bad_request(
                ErrorKind::Unknown,
                "no such identifier type",
            ));
        }
    };
    user_id_of(users, name)
        .ok_or_else(|| ApiError::forbidden("the user name or the password is wrong"))
}

/// The user id of a localpart or of a whole user id, if it is one of this server's.
pub(super) fn user_id_of(users: &Users, name: &str) -> Option<OwnedUserId> {
    let (localpart, server) = match name.strip_prefix('@') {
        Some(id) => id.split_once(':')?,
        None => (name, users.server_name().as_str()),
    };
    // Localparts of this server are registered in lower case.
    let user_id = UserId::parse(format!("@{}:{server}", localpart.to_lowercase())).ok()?;
    users.is_local(&user_id).then_some(user_id)
}
