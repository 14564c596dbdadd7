//! The HTTP listener: connections, their bounds, and what happens around each request.
//!
//! HTTP/1.1 and HTTP/2 by prior knowledge, both in plain text; TLS ends in front. A request passes,
//! in this order: span, declared length, router, panic, metrics.

mod answer;
mod connection;
mod probes;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;

use crate::config::Limits;
use crate::telemetry::Metrics;
use crate::{Clock, Lifecycle, Stage};

pub use answer::Endpoint;

/// Why the listener cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}", reason(source))]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// What the operating system says.
    pub source: io::Error,
}

/// A bound address that does not answer yet.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds `address`; port 0 takes any free one.
    pub async fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let failed = |source| ListenError { address, source };
        let tcp = TcpListener::bind(address).await.map_err(failed)?;
        let address = tcp.local_addr().map_err(failed)?;
        Ok(Self { tcp, address })
    }

    /// The address with its real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers with `router`, and `/health`, `/ready` and `/metrics` besides, as tasks of
    /// [`Stage::Front`]: when that stage finishes, no connection is accepted, idle ones are closed,
    /// and the others after the answers they wait for.
    pub fn serve(
        self,
        router: Router,
        limits: &Limits,
        lifecycle: &Lifecycle,
        metrics: Metrics,
        clock: Arc<dyn Clock>,
    ) {
        let router = router.merge(probes::router(lifecycle.readiness().clone(), metrics));
        let front = lifecycle.tasks(Stage::Front);
        let server = connection::Server::new(router, limits, front.clone(), clock);
        front.spawn_critical("http listener", Arc::new(server).accept(self.tcp));
    }
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the port is in use; stop the other program, or choose another with --listen".to_owned()
        }
        io::ErrorKind::PermissionDenied => "this user may not use that port".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
