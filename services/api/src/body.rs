//! Reading a request's body within its bound.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header::CONTENT_LENGTH};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use ruma::api::error::ErrorKind;

use crate::error::ApiError;

/// The most bytes of a request's body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyBytesMax(pub(crate) usize);

/// The whole body. One that declares too many bytes is refused unread.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    max: BodyBytesMax,
) -> Result<Bytes, ApiError> {
    if declared_bytes(headers).is_some_and(|bytes| bytes > max.0 as u64) {
        return Err(too_large(max));
    }
    match Limited::new(body, max.0).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if is_too_large(error.as_ref()) => Err(too_large(max)),
        Err(error) => {
            tracing::debug!(%error, "a request's body broke off");
            Err(ApiError::bad_request(
                ErrorKind::NotJson,
                "the body is incomplete",
            ))
        }
    }
}

fn declared_bytes(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The listener bounds bodies, too: its error arrives wrapped.
fn is_too_large(error: &(dyn std::error::Error + 'static)) -> bool {
    error.is::<LengthLimitError>() || error.source().is_some_and(is_too_large)
}

fn too_large(max: BodyBytesMax) -> ApiError {
    ApiError::too_large(format!("the body may have at most {} bytes", max.0))
}
