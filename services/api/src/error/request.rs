//! Requests that are not what their endpoint takes.

use hanse_event::strict_json::StrictJsonError;
use ruma::api::error::{
    DeserializationError, ErrorKind, FromHttpRequestError, HeaderDeserializationError,
};
use serde_json::error::Category;

use super::ApiError;

impl From<StrictJsonError> for ApiError {
    fn from(error: StrictJsonError) -> Self {
        let message = error.to_string();
        if error.is_too_large() {
            return Self::too_large(message);
        }
        let kind = if error.is_not_json() {
            ErrorKind::NotJson
        } else {
            ErrorKind::BadJson
        };
        Self::bad_request(kind, message)
    }
}

impl From<FromHttpRequestError> for ApiError {
    fn from(error: FromHttpRequestError) -> Self {
        match error {
            FromHttpRequestError::Deserialization(error) => error.into(),
            other => Self::internal(&other),
        }
    }
}

impl From<DeserializationError> for ApiError {
    fn from(error: DeserializationError) -> Self {
        let message = error.to_string();
        Self::bad_request(kind_of(&error, &message), message)
    }
}

/// Path, query and headers are parameters; the body is JSON.
fn kind_of(error: &DeserializationError, message: &str) -> ErrorKind {
    match error {
        DeserializationError::Json(error) => match error.classify() {
            Category::Data => ErrorKind::BadJson,
            Category::Io | Category::Syntax | Category::Eof => ErrorKind::NotJson,
        },
        DeserializationError::Header(HeaderDeserializationError::MissingHeader(_)) => {
            ErrorKind::MissingParam
        }
        // ruma hands on serde's text, which has no other mark.
        DeserializationError::Query(_) if message.starts_with("missing field") => {
            ErrorKind::MissingParam
        }
        _ => ErrorKind::InvalidParam,
    }
}
