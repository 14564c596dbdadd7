//! Interactive authentication: what a client has shown so far, across processes and restarts.
//!
//! A session counts for the user and the endpoint that began it and for nobody and nothing else.
//! [Specification](https://spec.matrix.org/v1.16/client-server-api/#user-interactive-authentication-api).

use hanse_store::{Range, StoreError};
use ruma::{OwnedUserId, api::client::uiaa::AuthType};
use serde_json::{Map, Value as JsonValue};

use crate::{
    Unavailable, Users,
    config::ttl_ms,
    error::from_unavailable,
    tables::{
        uia_session::{self, UIA_SESSIONS, UiaSessionRow},
        uia_stage::{self, UIA_STAGES, UiaStageRow},
    },
};

/// Largest parameters that are kept, in bytes of JSON.
const PARAMETERS_BYTES_MAX: usize = 32 * 1024;
/// Longest session id that is looked up, in bytes.
const SESSION_ID_BYTES_MAX: usize = 64;
/// Longest detail of a stage, and longest name of one, in bytes.
const STAGE_BYTES_MAX: usize = 255;
/// Most stages of a session.
const STAGES_MAX: usize = 16;

/// A JSON object.
type JsonObject = Map<String, JsonValue>;

/// What an interactive-authentication session is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UiaScope {
    /// Who is logged in; none for a registration.
    pub user_id: Option<OwnedUserId>,
    /// Method and path template, as in `POST /_matrix/client/v3/delete_devices`.
    pub endpoint: String,
}

/// An interactive-authentication session.
#[derive(Clone, Debug, PartialEq)]
pub struct UiaSession {
    /// Its id.
    pub session_id: String,
    /// What the client asked for when it began, without secrets.
    pub parameters: JsonObject,
    /// The stages completed so far.
    pub completed: Vec<CompletedStage>,
}

/// A stage that was completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletedStage {
    /// Which.
    pub stage: AuthType,
    /// What it was completed with, where a later call needs it: a registration token.
    pub detail: Option<String>,
}

impl UiaSession {
    /// The stages completed so far, as the specification's answer lists them.
    pub fn stages(&self) -> Vec<AuthType> {
        self.completed
            .iter()
            .map(|completed| completed.stage.clone())
            .collect()
    }

    /// Whether every one of these stages is completed.
    pub fn completes(&self, flow: &[AuthType]) -> bool {
        flow.iter()
            .all(|stage| self.completed.iter().any(|done| done.stage == *stage))
    }
}

/// Why a session was not begun or not taken further.
#[derive(Debug, thiserror::Error)]
pub enum UiaError {
    /// There is none of this id for this user and this endpoint, or no longer.
    #[error("there is no such authentication session for this request")]
    Unknown,
    /// The parameters are too large (`M_TOO_LARGE`).
    #[error("the parameters have {bytes} bytes, at most {PARAMETERS_BYTES_MAX} are allowed")]
    TooLarge {
        /// Their size.
        bytes: usize,
    },
    /// The stage or its detail is too long, or there are too many stages.
    #[error("a stage has at most {STAGE_BYTES_MAX} bytes, a session at most {STAGES_MAX} stages")]
    Stage,
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

from_unavailable!(UiaError);

impl Users {
    /// Begins a session. Passwords, tokens and `auth` are taken out of `parameters` before anything
    /// is kept.
    pub async fn start_uia(
        &self,
        scope: &UiaScope,
        parameters: &JsonObject,
    ) -> Result<UiaSession, UiaError> {
        let parameters = without_secrets(parameters);
        let json = JsonValue::Object(parameters.clone()).to_string();
        if json.len() > PARAMETERS_BYTES_MAX {
            return Err(UiaError::TooLarge { bytes: json.len() });
        }
        let session_id = self.inner.random.token();
        let expires_at_ms = self.now_ms() + ttl_ms(self.inner.config.uia_ttl);
        let row = UiaSessionRow {
            user_id: user_of(scope).to_owned(),
            endpoint: scope.endpoint.clone(),
            parameters: json,
            expires_at_ms,
        };
        let key = uia_session::key(&session_id);
        self.archive()
            .put_once(&UIA_SESSIONS, key, row.values(), expires_at_ms)
            .await?;
        Ok(UiaSession {
            session_id,
            parameters,
            completed: Vec::new(),
        })
    }

    /// The session of an id, if it was begun by this user for this endpoint.
    pub async fn uia(
        &self,
        scope: &UiaScope,
        session_id: &str,
    ) -> Result<Option<UiaSession>, Unavailable> {
        let Some(row) = self.uia_row(scope, session_id).await? else {
            return Ok(None);
        };
        let parameters =
            serde_json::from_str(&row.parameters).map_err(|error| StoreError::Corrupt {
                table: UIA_SESSIONS.name,
                reason: error.to_string(),
            })?;
        let stages: Vec<UiaStageRow> = self
            .archive()
            .range([session_id.into()], Range::all(), STAGES_MAX)
            .await?;
        let completed = stages.into_iter().map(|row| CompletedStage {
            stage: AuthType::from(row.stage),
            detail: Some(row.detail).filter(|detail| !detail.is_empty()),
        });
        Ok(Some(UiaSession {
            session_id: session_id.to_owned(),
            parameters,
            completed: completed.collect(),
        }))
    }

    /// Notes that the client completed a stage; the session with it. A stage that is completed
    /// already stays as it is.
    pub async fn complete_uia_stage(
        &self,
        scope: &UiaScope,
        session_id: &str,
        stage: &AuthType,
        detail: Option<&str>,
    ) -> Result<UiaSession, UiaError> {
        let row = self
            .uia_row(scope, session_id)
            .await?
            .ok_or(UiaError::Unknown)?;
        let mut session = self
            .uia(scope, session_id)
            .await?
            .ok_or(UiaError::Unknown)?;
        if session.completes(std::slice::from_ref(stage)) {
            return Ok(session);
        }
        let detail = detail.unwrap_or_default();
        let too_long = stage.as_str().len().max(detail.len()) > STAGE_BYTES_MAX;
        if too_long || session.completed.len() >= STAGES_MAX {
            return Err(UiaError::Stage);
        }
        let key = uia_stage::key(session_id, stage.as_str());
        let values = uia_stage::values(detail);
        self.archive()
            .put_once(&UIA_STAGES, key, values, row.expires_at_ms)
            .await?;
        let detail = Some(detail.to_owned()).filter(|detail| !detail.is_empty());
        session.completed.push(CompletedStage {
            stage: stage.clone(),
            detail,
        });
        Ok(session)
    }

    async fn uia_row(
        &self,
        scope: &UiaScope,
        session_id: &str,
    ) -> Result<Option<UiaSessionRow>, Unavailable> {
        if session_id.len() > SESSION_ID_BYTES_MAX {
            return Ok(None);
        }
        let row: Option<UiaSessionRow> = self.archive().get(uia_session::key(session_id)).await?;
        let now_ms = self.now_ms();
        Ok(row.filter(|row| {
            let in_time = now_ms < row.expires_at_ms;
            in_time && row.user_id == user_of(scope) && row.endpoint == scope.endpoint
        }))
    }
}

fn user_of(scope: &UiaScope) -> &str {
    scope.user_id.as_deref().map_or("", ruma::UserId::as_str)
}

/// The parameters without what must never be kept (GHSA-4f74-84v3-j9q5).
fn without_secrets(parameters: &JsonObject) -> JsonObject {
    let kept = parameters.iter().filter(|(name, _)| !is_secret(name));
    kept.map(|(name, value)| (name.clone(), value_without_secrets(value)))
        .collect()
}

fn value_without_secrets(value: &JsonValue) -> JsonValue {
    match value {
        JsonValue::Object(object) => JsonValue::Object(without_secrets(object)),
        JsonValue::Array(values) => values.iter().map(value_without_secrets).collect(),
        other => other.clone(),
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let marks = ["password", "secret", "token"];
    name == "auth" || marks.iter().any(|mark| name.contains(mark))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_taken_out_at_every_depth() {
        let JsonValue::Object(parameters) = json!({
            "username": "alice",
            "password": "p",
            "auth": { "session": "s", "password": "p" },
            "nested": { "new_password": "p", "kept": [{ "client_secret": "p", "a": 1 }] },
            "refresh_token": true,
        }) else {
            panic!("an object");
        };
        let kept = JsonValue::Object(without_secrets(&parameters));
        assert_eq!(
            kept,
            json!({ "username": "alice", "nested": { "kept": [{ "a": 1 }] } })
        );
    }
}
