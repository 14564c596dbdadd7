//! What one role asks of another, plugged together.

use async_trait::async_trait;
use hanse_api::{ApiError, SyncHandler};
use hanse_log::Position;
use hanse_sync::{SyncError, SyncWorker};
use hanse_user::Session;
use ruma::api::client::sync::sync_events::{DeviceLists, v3};
use ruma::{RoomId, UserId};

/// The sync role, for the API.
pub(crate) struct Syncs(pub(crate) SyncWorker);

#[async_trait]
impl SyncHandler for Syncs {
    async fn sync(
        &self,
        session: &Session,
        request: v3::Request,
    ) -> Result<v3::Response, ApiError> {
        let answer = self
            .0
            .sync(&session.user_id, &session.device_id, request)
            .await;
        answer.map_err(refused)
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
        error @ SyncError::UnknownFilter { .. } => ApiError::invalid_param(error.to_string()),
        SyncError::Store(error) => error.into(),
        SyncError::User(error) => error.into(),
    }
}
