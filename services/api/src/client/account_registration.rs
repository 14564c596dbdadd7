//! [Account registration](https://spec.matrix.org/v1.16/client-server-api/#account-registration-and-management).

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use hanse_runtime::config::{Registration as Settings, RegistrationMode};
use hanse_user::{NewSession, Proof, Registration, Users};
use ruma::api::{
    client::{
        account::{
            check_registration_token_validity::v1 as check_token,
            get_username_availability::v3 as availability,
            register::{RegistrationKind, v3 as register},
        },
        uiaa::{AuthData, AuthType},
    },
    error::ErrorKind,
};
use serde_json::json;

use super::Endpoints;
use crate::{
    admission::Class, error::ApiError, exchange::Ruma, rates::Rates, session::Address, uia::Uia,
};

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes
        .add(Class::Write, "register", sign_up)
        .add(Class::Read, "register_available", available)
        .add(Class::Read, "registration_token_validity", token_validity)
}

/// `POST /_matrix/client/v3/register` — everybody, as far as the server is configured to, with
/// interactive authentication.
async fn sign_up(
    State(users): State<Users>,
    State(settings): State<Arc<Settings>>,
    State(rates): State<Rates>,
    Address(address): Address,
    uia: Uia,
    Ruma(request): Ruma<register::Request>,
) -> Result<Response, ApiError> {
    let flow = flow(&settings, &request)?;
    if let Some(localpart) = &request.username {
        users.available(localpart).await?;
    }
    if begins(request.auth.as_ref()) {
        rates.registration(address)?;
    }
    let registration_token = uia.of_registration(&flow, request.auth.as_ref()).await?;
    let password = request
        .password
        .clone()
        .ok_or_else(|| ApiError::bad_request(ErrorKind::MissingParam, "the password is missing"))?;
    let account = users.register(Registration {
        localpart: request.username.clone(),
        password: Some(password),
        admin: false,
        guest: false,
        registration_token,
    });
    begin(&users, account.await?.user_id, request).await
}

/// `GET /_matrix/client/v3/register/available` — everybody.
async fn available(
    State(users): State<Users>,
    State(settings): State<Arc<Settings>>,
    Ruma(request): Ruma<availability::Request>,
) -> Result<Ruma<availability::Response>, ApiError> {
    is_open(&settings)?;
    users.available(&request.username).await?;
    Ok(Ruma(availability::Response::new(true)))
}

/// `GET /_matrix/client/v1/register/m.login.registration_token/validity` — everybody.
async fn token_validity(
    State(users): State<Users>,
    State(settings): State<Arc<Settings>>,
    State(rates): State<Rates>,
    Address(address): Address,
    Ruma(request): Ruma<check_token::Request>,
) -> Result<Ruma<check_token::Response>, ApiError> {
    is_open(&settings)?;
    rates.login(address, None)?;
    let valid = users.registration_token_valid(&request.token).await?;
    Ok(Ruma(check_token::Response::new(valid)))
}

/// The stages of a registration, if there may be one.
fn flow(settings: &Settings, request: &register::Request) -> Result<Vec<AuthType>, ApiError> {
    match request.kind {
        RegistrationKind::User => {}
        RegistrationKind::Guest => {
            let text = "this server has no guests";
            let kind = ErrorKind::GuestAccessForbidden;
            return Err(ApiError::new(http::StatusCode::FORBIDDEN, kind, text));
        }
        _ => return Err(ApiError::invalid_param("no such kind of account")),
    }
    is_open(settings)?;
    if request.login_type.is_some() {
        return Err(ApiError::forbidden(
            "this server has no application services",
        ));
    }
    Ok(match settings.mode {
        RegistrationMode::Token => vec![AuthType::RegistrationToken, AuthType::Dummy],
        _ => vec![AuthType::Dummy],
    })
}

/// Whether the request begins an authentication session, which is what is counted: each is kept for
/// a while, whatever becomes of it.
fn begins(auth: Option<&AuthData>) -> bool {
    auth.and_then(AuthData::session).is_none()
}

fn is_open(settings: &Settings) -> Result<(), ApiError> {
    if settings.mode == RegistrationMode::Closed {
        return Err(ApiError::forbidden("registration is closed"));
    }
    Ok(())
}

/// Logs the new user in, unless they want it otherwise.
async fn begin(
    users: &Users,
    user_id: ruma::OwnedUserId,
    request: register::Request,
) -> Result<Response, ApiError> {
    if request.inhibit_login {
        // ruma would write `"device_id": null`.
        return Ok(Json(json!({ "user_id": user_id })).into_response());
    }
    let new = NewSession {
        proof: Proof::Vouched(user_id),
        device_id: request.device_id,
        initial_display_name: request.initial_device_display_name,
        refresh: request.refresh_token,
    };
    let session = users.start_session(new).await?;
    let mut response = register::Response::new(session.user_id);
    response.device_id = Some(session.device_id);
    response.access_token = Some(session.tokens.access_token);
    response.refresh_token = session.tokens.refresh_token;
    response.expires_in = session.tokens.expires_in;
    Ok(Ruma(response).into_response())
}
