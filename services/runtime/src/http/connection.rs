//! Accepting connections and serving each until it ends.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::{BodyBounds, answer};
use crate::config::Limits;
use crate::{Clock, Tasks};

/// How long to wait after a failed accept: mostly the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often a silent HTTP/2 connection is asked whether it lives, and how long it may take.
const HTTP2_PING_EVERY: Duration = Duration::from_secs(30);
const HTTP2_PONG_WITHIN: Duration = Duration::from_secs(20);

/// hyper keeps up to this many headers on the stack; another bound costs an allocation a request.
const HEADERS_ON_STACK: usize = 100;

/// The answer to a connection past the bound.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
    retry-after: 1\r\nconnection: close\r\ncontent-length: 69\r\n\r\n\
    {\"errcode\":\"M_LIMIT_EXCEEDED\",\"error\":\"too many connections at once\"}";

/// What all connections share.
pub(super) struct Server {
    router: Router,
    http: Builder<Streams>,
    bounds: BodyBounds,
    first_request: Duration,
    places: Arc<Semaphore>,
    tasks: Tasks,
    clock: Arc<dyn Clock>,
}

impl Server {
    pub(super) fn new(
        router: Router,
        limits: &Limits,
        tasks: Tasks,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            router,
            http: builder(limits, Streams(tasks.clone())),
            bounds: BodyBounds {
                bytes_max: limits.body_bytes_max,
                stall_max: limits.body_stall(),
            },
            first_request: limits.first_request(),
            places: Arc::new(Semaphore::new(limits.connections_max)),
            tasks,
            clock,
        }
    }

    /// Accepts until the stage finishes.
    pub(super) async fn accept(self: Arc<Self>, tcp: TcpListener) {
        let soft = self.tasks.soft().clone();
        while let Some(accepted) = soft.run_until_cancelled(tcp.accept()).await {
            match accepted {
                Ok((stream, peer)) => Arc::clone(&self).admit(stream, peer),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => {
                let tasks = self.tasks.clone();
                tasks.spawn("http connection", self.serve((stream, peer), place));
            }
            Err(_) => refuse(stream),
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response {
        answer(self.router.clone(), self.bounds, &*self.clock, request).await
    }

    async fn serve(
        self: Arc<Self>,
        (stream, peer): (TcpStream, SocketAddr),
        _place: OwnedSemaphorePermit,
    ) {
        let _ = stream.set_nodelay(true);
        let asked = Arc::new(AtomicBool::new(false));
        let service = service_fn(|mut request: Request<Incoming>| {
            // For limits by address.
            request.extensions_mut().insert(ConnectInfo(peer));
            asked.store(true, Ordering::Relaxed);
            let server = Arc::clone(&self);
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(stream), service));
        let mut first_request = pin!(tokio::time::sleep(self.first_request));
        let (mut draining, mut watching) = (false, true);
        loop {
            tokio::select! {
                // The drain comes first, so that the answers to long polls, which it ends, say that
                // the connection closes.
                biased;
                () = self.tasks.soft().cancelled(), if !draining => {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
                ended = connection.as_mut() => return note_end(ended),
                () = first_request.as_mut(), if watching => {
                    watching = false;
                    if !asked.load(Ordering::Relaxed) {
                        return count_refused("slow");
                    }
                }
            }
        }
    }
}

fn builder(limits: &Limits, streams: Streams) -> Builder<Streams> {
    let mut builder = Builder::new(streams);
    let mut http1 = builder.http1();
    http1
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle());
    http1.max_buf_size(limits.header_bytes_max);
    if limits.headers_max != HEADERS_ON_STACK {
        http1.max_headers(limits.headers_max);
    }
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.http2_streams_max)
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        .keep_alive_interval(HTTP2_PING_EVERY)
        .keep_alive_timeout(HTTP2_PONG_WITHIN);
    builder
}

/// Clients go away all the time: not worth more than a debug line.
fn note_end(ended: Result<(), Box<dyn Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "an http connection broke");
    }
}

/// Says why before closing, as far as the socket takes it at once.
fn refuse(stream: TcpStream) {
    count_refused("full");
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write(FULL);
    }
}

fn count_refused(reason: &'static str) {
    metrics::counter!("hanse_http_connections_refused_total", "reason" => reason).increment(1);
}

/// Runs HTTP/2 streams as tasks of the stage.
#[derive(Clone)]
struct Streams(Tasks);

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawn("http2 stream", stream);
    }
}
