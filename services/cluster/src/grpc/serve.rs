//! Answering the other processes at the process's own address.

use std::{sync::Arc, time::Duration};

use hanse_runtime::{Clock, Tasks};
use tonic::{service::Routes, transport::Server};
use tower::layer::layer_fn;

use super::{SlotListener, timed::Timed};

/// Calls at once on one connection: as many clients wait on `/sync` by way of one process. Each
/// service has bounds of its own besides.
const STREAMS_MAX: u32 = 16_384;
/// A silent connection is asked so often whether it lives …
const PING_EVERY: Duration = Duration::from_secs(20);
/// … and has so long to say so.
const PONG_WITHIN: Duration = Duration::from_secs(10);

/// Answers with these services until the tasks are asked to finish; calls under way are still
/// answered.
pub fn serve(listener: SlotListener, services: Routes, tasks: &Tasks, clock: Arc<dyn Clock>) {
    let soft = tasks.soft().clone();
    let server = Server::builder()
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PONG_WITHIN))
        .layer(layer_fn(move |service| {
            Timed::new(service, Arc::clone(&clock))
        }))
        .add_routes(services);
    tasks.spawn_critical("process-calls", async move {
        let connections = listener.connections();
        let end = server.serve_with_incoming_shutdown(connections, soft.cancelled_owned());
        if let Err(error) = end.await {
            tracing::error!(%error, "other processes are not answered any more");
        }
    });
}
