//! [Syncing](https://spec.matrix.org/v1.16/client-server-api/#syncing): answered by the sync role.

use std::time::Duration;

use axum::extract::State;
use ruma::api::client::sync::sync_events::v3 as sync_events;

use super::Endpoints;
use crate::{
    admission::Class,
    error::ApiError,
    exchange::Ruma,
    session::Session,
    sync_handler::{SyncAnswer, Syncs},
};

/// The longest that a `/sync` waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LongPollMax(pub(crate) Duration);

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes.add(Class::Sync, "sync", sync)
}

/// `GET /_matrix/client/v3/sync` — any user.
async fn sync(
    State(syncs): State<Syncs>,
    State(LongPollMax(long_poll_max)): State<LongPollMax>,
    session: Session,
    Ruma(mut request): Ruma<sync_events::Request>,
) -> Result<SyncAnswer, ApiError> {
    request.timeout = request.timeout.map(|timeout| timeout.min(long_poll_max));
    syncs.sync(&session, request).await
}
