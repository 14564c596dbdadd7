//! What the sync role answers: it is plugged in, since roles do not depend on roles.

use std::{fmt, ops::Deref, sync::Arc};

use async_trait::async_trait;
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use hanse_log::Position;
use hanse_user::Session;
use http::header::CONTENT_TYPE;
use ruma::{
    RoomId, UserId,
    api::client::sync::sync_events::{DeviceLists, v3},
};

use crate::{ApiError, error::respond};

/// An answer to `/sync`.
pub enum SyncAnswer {
    /// To be written.
    Here(Box<v3::Response>),
    /// Written by the process of the user's worker; passed on as it comes.
    Elsewhere(Body),
}

impl IntoResponse for SyncAnswer {
    fn into_response(self) -> Response {
        match self {
            Self::Here(response) => respond(*response),
            Self::Elsewhere(body) => ([(CONTENT_TYPE, "application/json")], body).into_response(),
        }
    }
}

/// Answers `/sync`, and knows its tokens.
#[async_trait]
pub trait SyncHandler: Send + Sync + 'static {
    /// `GET /_matrix/client/v3/sync`: waits, up to the request's time-out, until there is something
    /// to tell.
    async fn sync(&self, session: &Session, request: v3::Request) -> Result<SyncAnswer, ApiError>;

    /// Up to where, in a room, a token of `/sync` has seen everything; `None` if it is not a token
    /// that was given to this user.
    async fn position_in(
        &self,
        token: &str,
        user_id: &UserId,
        room_id: &RoomId,
    ) -> Result<Option<Position>, ApiError>;

    /// Whose devices changed between two tokens of `/sync` that were given to this user.
    async fn device_lists(
        &self,
        user_id: &UserId,
        from: &str,
        to: &str,
    ) -> Result<DeviceLists, ApiError>;
}

/// The handler, as handlers of requests take it.
#[derive(Clone)]
pub(crate) struct Syncs(pub(crate) Arc<dyn SyncHandler>);

impl Deref for Syncs {
    type Target = dyn SyncHandler;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl fmt::Debug for Syncs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Syncs").finish_non_exhaustive()
    }
}
