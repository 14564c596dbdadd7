//! The one way in which a request fails: status, `errcode`, text and, where it helps, when to try
//! again ([spec]). Every domain error becomes one of these here, and nowhere else.
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#standard-error-response

use std::{borrow::Cow, time::Duration};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use ruma::api::{
    OutgoingResponse, OutgoingResponseExt,
    client::uiaa::{UiaaInfo, UiaaResponse},
    error::{
        Error, ErrorBody, ErrorKind, LimitExceededErrorData, RetryAfter, StandardErrorBody,
        UnknownTokenErrorData,
    },
};

mod request;
mod room;
mod user;

/// Why a request got no answer of its endpoint's kind.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// An error of the specification.
    #[error("{} {}: {message}", status.as_u16(), kind.errcode())]
    Standard {
        /// The HTTP status.
        status: StatusCode,
        /// The `errcode`, with what belongs to it.
        kind: Box<ErrorKind>,
        /// For people.
        message: Cow<'static, str>,
    },
    /// More stages of user-interactive authentication are needed (401).
    #[error("user-interactive authentication is needed")]
    Uia(Box<UiaaInfo>),
}

impl ApiError {
    /// An error of the specification.
    pub fn new(status: StatusCode, kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self::Standard {
            status,
            kind: Box::new(kind),
            message: message.into(),
        }
    }

    /// 400 with the given `errcode`.
    pub fn bad_request(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, kind, message)
    }

    /// 400 `M_BAD_JSON`.
    pub fn bad_json(message: impl Into<Cow<'static, str>>) -> Self {
        Self::bad_request(ErrorKind::BadJson, message)
    }

    /// 400 `M_INVALID_PARAM`.
    pub fn invalid_param(message: impl Into<Cow<'static, str>>) -> Self {
        Self::bad_request(ErrorKind::InvalidParam, message)
    }

    /// 400 `M_INVALID_SIGNATURE`, which ruma has no variant for.
    pub fn invalid_signature(message: impl Into<Cow<'static, str>>) -> Self {
        let kind = serde_json::json!({ "errcode": "M_INVALID_SIGNATURE" });
        let kind = serde_json::from_value(kind).unwrap_or(ErrorKind::InvalidParam);
        Self::bad_request(kind, message)
    }

    /// 403 `M_FORBIDDEN`.
    pub fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, ErrorKind::Forbidden, message)
    }

    /// 404 `M_NOT_FOUND`.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, ErrorKind::NotFound, message)
    }

    /// 413 `M_TOO_LARGE`.
    pub fn too_large(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorKind::TooLarge, message)
    }

    /// 401 `M_MISSING_TOKEN`.
    pub fn missing_token() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            ErrorKind::MissingToken,
            "an access token is needed",
        )
    }

    /// 401 `M_UNKNOWN_TOKEN`. With `soft_logout` the client keeps its data and logs in again.
    pub fn unknown_token(soft_logout: bool, message: impl Into<Cow<'static, str>>) -> Self {
        let mut data = UnknownTokenErrorData::new();
        data.soft_logout = soft_logout;
        Self::new(
            StatusCode::UNAUTHORIZED,
            ErrorKind::UnknownToken(data),
            message,
        )
    }

    /// 429 `M_LIMIT_EXCEEDED`. The wait is rounded up to whole seconds, which is what the
    /// `Retry-After` header can say.
    pub fn limit_exceeded(wait: Duration, message: impl Into<Cow<'static, str>>) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let mut data = LimitExceededErrorData::new();
        data.retry_after = Some(RetryAfter::Delay(Duration::from_secs(seconds.max(1))));
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            ErrorKind::LimitExceeded(data),
            message,
        )
    }

    /// 503: nothing was decided, or it is not known what was. A retry is recognised by its
    /// transaction id.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Unknown, message)
    }

    /// 500 for a fault on our side: it is logged here, and the client learns nothing of it.
    pub fn internal(cause: &dyn std::error::Error) -> Self {
        let text = chain(cause);
        tracing::error!(error = text, "a request failed inside the server");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            ErrorKind::Unknown,
            "the server failed",
        )
    }

    /// `errcode` and `error`, for an answer of which only a part failed.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Standard { kind, message, .. } => {
                serde_json::json!({ "errcode": kind.errcode().as_str(), "error": message })
            }
            Self::Uia(_) => {
                serde_json::json!({ "errcode": ErrorKind::Unauthorized.errcode().as_str() })
            }
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Standard { status, .. } => *status,
            Self::Uia(_) => StatusCode::UNAUTHORIZED,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match self {
            Self::Standard {
                status,
                kind,
                message,
            } => {
                let body = StandardErrorBody::new(*kind, message.into_owned());
                respond(Error::new(status, ErrorBody::Standard(body)))
            }
            Self::Uia(info) => respond(UiaaResponse::AuthResponse(*info)),
        }
    }
}

/// Writes one of ruma's responses. It fails only if a header's value is invalid, which is our fault.
pub(crate) fn respond(response: impl OutgoingResponse) -> Response {
    match response.try_into_http_response::<Vec<u8>>() {
        Ok(response) => response.map(Body::from),
        Err(error) => {
            tracing::error!(%error, "a response cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// An error and its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use http::header::RETRY_AFTER;
    use serde_json::{Value, json};

    use super::*;

    /// The status and the `errcode` that a domain's error gets.
    pub(super) fn check_kind(error: impl Into<ApiError>, status: u16, errcode: &str) {
        let error = error.into();
        assert_eq!(error.status().as_u16(), status, "{error}");
        let ApiError::Standard { kind, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(kind.errcode().as_str(), errcode, "{error}");
    }

    async fn check(error: ApiError, status: u16, body: Value) {
        let response = error.into_response();
        assert_eq!(response.status().as_u16(), status);
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), body);
    }

    #[tokio::test]
    async fn errors_are_the_specifications() {
        let forbidden = json!({"errcode": "M_FORBIDDEN", "error": "no"});
        check(ApiError::forbidden("no"), 403, forbidden).await;
        let missing = json!({"errcode": "M_MISSING_TOKEN", "error": "an access token is needed"});
        check(ApiError::missing_token(), 401, missing).await;
        let hard = json!({"errcode": "M_UNKNOWN_TOKEN", "error": "x"});
        check(ApiError::unknown_token(false, "x"), 401, hard).await;
        let soft = json!({"errcode": "M_UNKNOWN_TOKEN", "error": "x", "soft_logout": true});
        check(ApiError::unknown_token(true, "x"), 401, soft).await;
        let limit = json!({"errcode": "M_LIMIT_EXCEEDED", "error": "x", "retry_after_ms": 2_000});
        check(
            ApiError::limit_exceeded(Duration::from_millis(1_001), "x"),
            429,
            limit,
        )
        .await;
        let unknown = json!({"errcode": "M_UNKNOWN", "error": "the server failed"});
        check(ApiError::internal(&std::fmt::Error), 500, unknown).await;
    }

    /// Sabotage: `seconds.max(0)` tells clients to come back at once.
    #[test]
    fn a_retry_is_never_told_to_come_at_once() {
        let response = ApiError::limit_exceeded(Duration::ZERO, "x").into_response();
        assert_eq!(response.headers()[RETRY_AFTER], "1");
    }
}
