//! The listener as a client sees it, over raw sockets.

use std::net::Ipv4Addr;
use std::time::Duration;

use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::{DrainLimits, SystemClock, Tasks};

const PATIENCE: Duration = Duration::from_secs(20);

struct Running {
    address: SocketAddr,
    lifecycle: Lifecycle,
}

impl Running {
    async fn start(limits: Limits) -> Self {
        let drain = DrainLimits {
            readiness_delay: Duration::from_millis(300),
            hard_after: PATIENCE,
        };
        let lifecycle = Lifecycle::new(drain);
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into())
            .await
            .unwrap();
        let address = listener.address();
        let soft = lifecycle.tasks(Stage::Front).soft().clone();
        let router = Router::new()
            .route("/echo", post(|body: axum::body::Bytes| async { body }))
            .route(
                "/panic",
                get(|| async { assert!(std::hint::black_box(false), "no") }),
            )
            .route("/wait", get(async move || soft.cancelled().await));
        listener.serve(
            router,
            &limits,
            &lifecycle,
            Metrics::detached(),
            SystemClock::shared(),
        );
        Self { address, lifecycle }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends a whole request that asks for the connection to be closed.
    async fn ask(&self, head: &str, body: &str) -> String {
        let mut stream = self.connect().await;
        let request = format!("{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        rest(&mut stream).await
    }
}

/// What still comes before the server closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes))
        .await
        .expect("not closed in time");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What comes next, in one piece.
async fn some(stream: &mut TcpStream) -> String {
    let mut bytes = [0; 4_096];
    let length = timeout(PATIENCE, stream.read(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

#[tokio::test]
async fn probes_answer_beside_the_routes() {
    let server = Running::start(Limits::default()).await;
    let part = server.lifecycle.readiness().part("log");
    assert!(
        server
            .ask("GET /health", "\r\n")
            .await
            .starts_with("HTTP/1.1 200")
    );
    assert!(
        server
            .ask("GET /metrics", "\r\n")
            .await
            .starts_with("HTTP/1.1 200")
    );
    let waiting = server.ask("GET /ready", "\r\n").await;
    assert!(waiting.starts_with("HTTP/1.1 503") && waiting.ends_with("waiting for: log\n"));
    part.set(true);
    assert!(
        server
            .ask("GET /ready", "\r\n")
            .await
            .starts_with("HTTP/1.1 200")
    );
    assert!(
        server
            .ask("GET /nothing", "\r\n")
            .await
            .starts_with("HTTP/1.1 404")
    );
}

#[tokio::test]
async fn http2_by_prior_knowledge_is_spoken() {
    let server = Running::start(Limits::default()).await;
    let mut stream = server.connect().await;
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    let mut head = [0; 9];
    timeout(PATIENCE, stream.read_exact(&mut head))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        head[3], 4,
        "the first frame of an HTTP/2 server is SETTINGS"
    );
}

#[tokio::test]
async fn a_body_past_the_bound_is_refused_whether_declared_or_not() {
    let server = Running::start(Limits {
        body_bytes_max: 10,
        ..Limits::default()
    })
    .await;
    let fits = server
        .ask("POST /echo", "content-length: 10\r\n\r\n0123456789")
        .await;
    assert!(fits.starts_with("HTTP/1.1 200") && fits.ends_with("0123456789"));

    let declared = server
        .ask("POST /echo", "content-length: 11\r\n\r\n0123456789x")
        .await;
    assert!(declared.starts_with("HTTP/1.1 413"), "{declared}");
    assert!(
        declared
            .ends_with(r#"{"errcode":"M_TOO_LARGE","error":"the body may have at most 10 bytes"}"#)
    );

    let chunked = "transfer-encoding: chunked\r\n\r\nb\r\n0123456789x\r\n0\r\n\r\n";
    assert!(
        server
            .ask("POST /echo", chunked)
            .await
            .starts_with("HTTP/1.1 413")
    );
}

#[tokio::test]
async fn a_panic_costs_its_request_only() {
    let server = Running::start(Limits::default()).await;
    let failed = server.ask("GET /panic", "\r\n").await;
    assert!(
        failed.starts_with("HTTP/1.1 500") && failed.contains("M_UNKNOWN"),
        "{failed}"
    );
    assert!(
        server
            .ask("GET /health", "\r\n")
            .await
            .starts_with("HTTP/1.1 200")
    );
}

#[tokio::test]
async fn a_connection_that_never_finishes_its_first_head_is_closed() {
    let server = Running::start(Limits {
        first_request_ms_max: 100,
        ..Limits::default()
    })
    .await;
    for start in ["", "P", "GET / HTTP/1.1\r\nhost:"] {
        let mut stream = server.connect().await;
        stream.write_all(start.as_bytes()).await.unwrap();
        rest(&mut stream).await;
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_waiting_one_is_not() {
    let limits = Limits {
        idle_ms_max: 200,
        first_request_ms_max: 100,
        ..Limits::default()
    };
    let server = Running::start(limits).await;
    let mut idle = server.connect().await;
    let mut waiting = server.connect().await;
    idle.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    waiting
        .write_all(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    assert!(rest(&mut idle).await.starts_with("HTTP/1.1 200"));
    let silent = timeout(Duration::from_millis(300), waiting.read_u8()).await;
    assert!(silent.is_err(), "a long poll is no idle connection");
}

#[tokio::test]
async fn connections_past_the_bound_are_told_so() {
    let server = Running::start(Limits {
        connections_max: 1,
        ..Limits::default()
    })
    .await;
    let mut first = server.connect().await;
    first
        .write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    assert!(some(&mut first).await.starts_with("HTTP/1.1 200"));

    let refused = rest(&mut server.connect().await).await;
    let (head, body) = refused.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 503") && head.contains("retry-after: 1"));
    assert!(
        head.ends_with(&format!("content-length: {}", body.len())),
        "{refused}"
    );

    drop(first);
    let answered = async {
        while !server
            .ask("GET /health", "\r\n")
            .await
            .starts_with("HTTP/1.1 200")
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, answered)
        .await
        .expect("the place is free again");
}

#[tokio::test]
async fn a_drain_fails_readiness_then_ends_polls_and_idle_connections_and_refuses_new_ones() {
    let server = Running::start(Limits::default()).await;
    let (mut idle, mut poll) = (server.connect().await, server.connect().await);
    idle.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    assert!(some(&mut idle).await.starts_with("HTTP/1.1 200"));
    poll.write_all(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();

    let (send, signals) = mpsc::channel(1);
    send.send(()).await.unwrap();
    let lifecycle = server.lifecycle.clone();
    let drained = Tasks::new().spawn("drain", async move { lifecycle.run(signals).await });

    let seen_unready = async {
        while !server
            .ask("GET /ready", "\r\n")
            .await
            .starts_with("HTTP/1.1 503")
        {}
    };
    timeout(PATIENCE, seen_unready).await.unwrap();

    let polled = rest(&mut poll).await;
    assert!(
        polled.starts_with("HTTP/1.1 200") && polled.contains("connection: close"),
        "{polled}"
    );
    assert_eq!(rest(&mut idle).await, "");
    let drained = timeout(PATIENCE, drained).await.unwrap().unwrap().unwrap();
    assert!(drained.orderly);
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_port_in_use_is_explained() {
    let first = Listener::bind((Ipv4Addr::LOCALHOST, 0).into())
        .await
        .unwrap();
    let error = Listener::bind(first.address()).await.unwrap_err();
    let said = error.to_string();
    assert!(said.starts_with(&format!(
        "cannot listen on {}: the port is in use",
        first.address()
    )));
}
