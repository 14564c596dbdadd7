//! Who asks: the access token as an extractor ([spec]).
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#using-access-tokens

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
    ops::Deref,
};

use axum::extract::{ConnectInfo, FromRef, FromRequestParts, OptionalFromRequestParts, Query};
use hanse_user::Users;
use http::{header::AUTHORIZATION, request::Parts};
use serde::Deserialize;

use crate::error::ApiError;

/// A user's session. A handler without one cannot act for a user.
#[derive(Clone, Debug)]
pub(crate) struct Session(hanse_user::Session);

/// The session of somebody who may administer this server.
#[derive(Clone, Debug)]
pub(crate) struct AdminSession(Session);

/// Where a request comes from, if the listener says so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address(pub(crate) Option<IpAddr>);

impl Deref for Session {
    type Target = hanse_user::Session;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Deref for AdminSession {
    type Target = Session;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Session {
    /// 403 unless `user_id`, named in the path, is the session's own user.
    pub(crate) fn only(&self, user_id: &ruma::UserId) -> Result<(), ApiError> {
        if self.user_id == user_id {
            return Ok(());
        }
        Err(ApiError::forbidden("this belongs to another user"))
    }
}

impl<S> FromRequestParts<S> for Session
where
    S: Send + Sync,
    Users: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let token = access_token(parts).ok_or_else(ApiError::missing_token)?;
        let users = Users::from_ref(state);
        let session = users.authenticate(&token).await?;
        users.saw(&session, address(parts));
        Ok(Self(session))
    }
}

impl<S> OptionalFromRequestParts<S> for Session
where
    S: Send + Sync,
    Users: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, ApiError> {
        if access_token(parts).is_none() {
            return Ok(None);
        }
        <Self as FromRequestParts<S>>::from_request_parts(parts, state)
            .await
            .map(Some)
    }
}

impl<S> FromRequestParts<S> for AdminSession
where
    S: Send + Sync,
    Users: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let session = <Session as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        if !session.admin {
            return Err(ApiError::forbidden(
                "this is for administrators of this server",
            ));
        }
        Ok(Self(session))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Address {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(Self(address(parts)))
    }
}

/// The address of the connection. What proxies put into headers is not trusted: anybody may write
/// it.
fn address(parts: &Parts) -> Option<IpAddr> {
    let connected = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    connected.map(|ConnectInfo(address)| address.ip())
}

#[derive(Deserialize)]
struct InQuery {
    access_token: String,
}

/// The token of the header, or of the query (deprecated since Matrix 1.11).
fn access_token(parts: &Parts) -> Option<Cow<'_, str>> {
    if let Some(header) = parts.headers.get(AUTHORIZATION) {
        return bearer(header.to_str().ok()?).map(Cow::Borrowed);
    }
    let Query(query) = Query::<InQuery>::try_from_uri(&parts.uri).ok()?;
    Some(Cow::Owned(query.access_token))
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn found(header: Option<&str>, uri: &str) -> Option<String> {
        let mut request = Request::get(uri);
        if let Some(header) = header {
            request = request.header(AUTHORIZATION, header);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        access_token(&parts).map(Cow::into_owned)
    }

    #[test]
    fn tokens_are_found_in_header_and_query() {
        let token = Some("secret".to_owned());
        assert_eq!(found(Some("Bearer secret"), "/"), token);
        assert_eq!(found(Some("bearer  secret"), "/"), token);
        assert_eq!(found(None, "/?a=1&access_token=secret"), token);
        assert_eq!(found(None, "/?access_token=se%63ret"), token);
        assert_eq!(found(Some("Bearer secret"), "/?access_token=other"), token);
    }

    #[test]
    fn what_is_no_token_is_none() {
        for header in ["Bearer", "Bearer ", "Basic YTpi", "nonsense", ""] {
            assert_eq!(found(Some(header), "/"), None, "{header}");
        }
        assert_eq!(found(None, "/?token=secret"), None);
    }
}
