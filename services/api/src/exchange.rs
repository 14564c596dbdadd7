//! Requests and responses as ruma's types, read strictly.

use axum::{
    extract::{FromRef, FromRequest, FromRequestParts, RawPathParams, Request},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use hanse_event::strict_json::{self, Limits};
use http::{Method, request::Parts};
use ruma::{
    CanonicalJsonObject,
    api::{IncomingRequest, IncomingRequestExt, OutgoingResponse},
};

use crate::{
    body::{self, BodyBytesMax},
    error::{ApiError, respond},
};

/// One of ruma's requests, as an extractor; one of ruma's responses, as an answer.
///
/// The body must be a JSON object within the limits of [`strict_json`], or empty where every field
/// is optional. Its `Content-Type` does not matter: the specification tells servers not to look.
#[derive(Debug)]
pub(crate) struct Ruma<T>(pub(crate) T);

impl<T, S> FromRequest<S> for Ruma<T>
where
    T: IncomingRequest,
    S: Send + Sync,
    BodyBytesMax: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let max = BodyBytesMax::from_ref(state);
        let (parts, bytes) = split(request, max, T::METHOD == Method::GET).await?;
        if bytes.is_empty() {
            // Some clients leave out a body in which nothing is required.
            return Ok(Self(read(parts, b"{}").await?));
        }
        strict_json::check_object(&bytes, Limits::body(max.0))?;
        Ok(Self(read(parts, &bytes).await?))
    }
}

impl<T: OutgoingResponse> IntoResponse for Ruma<T> {
    fn into_response(self) -> Response {
        respond(self.0)
    }
}

/// Requests whose body needs a hand before ruma reads it.
pub(crate) trait PreparedRequest: IncomingRequest {
    /// Refuses what ruma would not refuse in the specification's words, and fills in what it
    /// wants beyond the specification.
    fn prepare(body: Bytes) -> Result<Bytes, ApiError>;
}

/// Like [`Ruma`], for a [`PreparedRequest`].
#[derive(Debug)]
pub(crate) struct RumaPrepared<T>(pub(crate) T);

impl<T, S> FromRequest<S> for RumaPrepared<T>
where
    T: PreparedRequest,
    S: Send + Sync,
    BodyBytesMax: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let max = BodyBytesMax::from_ref(state);
        let (parts, bytes) = split(request, max, false).await?;
        strict_json::check_object(&bytes, Limits::body(max.0))?;
        Ok(Self(read(parts, &T::prepare(bytes)?).await?))
    }
}

/// A request whose body is the content of an event: read once, as canonical JSON. The typed request
/// sees an empty object in its place.
#[derive(Debug)]
pub(crate) struct RumaContent<T> {
    /// Path and query.
    pub(crate) request: T,
    /// The body.
    pub(crate) content: CanonicalJsonObject,
}

impl<T, S> FromRequest<S> for RumaContent<T>
where
    T: IncomingRequest,
    S: Send + Sync,
    BodyBytesMax: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let max = BodyBytesMax::from_ref(state);
        let (parts, bytes) = split(request, max, false).await?;
        let request = read(parts, b"{}").await?;
        let content = strict_json::canonical_object(&bytes, Limits::body(max.0))?;
        Ok(Self { request, content })
    }
}

/// Head and whole body. A `GET` has none that anybody reads.
async fn split(
    request: Request,
    max: BodyBytesMax,
    without_body: bool,
) -> Result<(Parts, Bytes), ApiError> {
    let (parts, body) = request.into_parts();
    if without_body {
        return Ok((parts, Bytes::new()));
    }
    let bytes = body::read(&parts.headers, body, max).await?;
    Ok((parts, bytes))
}

async fn read<T: IncomingRequest>(mut parts: Parts, body: &[u8]) -> Result<T, ApiError> {
    let params = RawPathParams::from_request_parts(&mut parts, &()).await;
    let params = params.map_err(|_| ApiError::invalid_param("the path is not UTF-8"))?;
    let arguments: Vec<&str> = params.iter().map(|(_, value)| value).collect();
    let request = http::Request::from_parts(parts, body);
    Ok(T::try_from_http_request(request, &arguments)?)
}
