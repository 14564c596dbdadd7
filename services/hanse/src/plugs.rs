//! What one role asks of another, plugged together.

use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use hanse_api::{ApiError, SyncAnswer, SyncHandler};
use hanse_log::Position;
use hanse_sync::{Answered, SyncClient, SyncError};
use hanse_user::Session;
use ruma::api::client::sync::sync_events::{DeviceLists, v3};
use ruma::{RoomId, UserId};

/// When a client comes again that found its worker full.
const FULL_RETRY: Duration = Duration::from_secs(5);

/// The sync role, for the API.
pub(crate) struct Syncs(pub(crate) SyncClient);

#[async_trait]
impl SyncHandler for Syncs {
    async fn sync(&self, session: &Session, request: v3::Request) -> Result<SyncAnswer, ApiError> {
        let answer = self
            .0
            .sync(&session.user_id, &session.device_id, request)
            .await;
        Ok(match answer.map_err(refused)? {
            Answered::Here(response) => SyncAnswer::Here(response),
            Answered::Elsewhere(pieces) => SyncAnswer::Elsewhere(Body::from_stream(pieces)),
        })
    }

    async fn position_in(
        &self,
        token: &str,
        user_id: &UserId,
        room_id: &RoomId,
    ) -> Result<Option<Position>, ApiError> {
        Ok(self.0.position_of(user_id, token, room_id).ok())
    }

    async fn device_lists(
        &self,
        user_id: &UserId,
        from: &str,
        to: &str,
    ) -> Result<DeviceLists, ApiError> {
        let lists = self.0.device_lists(user_id, from, to).await;
        lists.map_err(refused)
    }
}

fn refused(error: SyncError) -> ApiError {
    match error {
        SyncError::BadToken(error) => ApiError::invalid_param(error.to_string()),
        error @ (SyncError::UnknownFilter { .. } | SyncError::Refused { .. }) => {
            ApiError::invalid_param(error.to_string())
        }
        error @ SyncError::Full => ApiError::limit_exceeded(FULL_RETRY, error.to_string()),
        error @ SyncError::Unanswered { .. } => {
            tracing::warn!(%error, "a client's /sync got no answer");
            ApiError::unavailable("no sync worker answers")
        }
        SyncError::Store(error) => error.into(),
        SyncError::User(error) => error.into(),
    }
}
