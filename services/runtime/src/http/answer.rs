//! What happens around each request.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use futures::FutureExt;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::Limited;
use hyper::body::Incoming;
use tower::Service;
use tower_http::timeout::TimeoutBody;
use tracing::{Instrument, Span};

use crate::Clock;
use crate::tasks::report_panic;

/// The name under which a response is counted, put into its extensions by the handler's wrapper;
/// without it a response counts as `other`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint(pub &'static str);

/// Bounds of a request's body.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyBounds {
    pub(super) bytes_max: usize,
    pub(super) stall_max: Duration,
}

/// Answers one request. It never fails: whatever happens has a response.
pub(super) async fn answer(
    router: Router,
    bounds: BodyBounds,
    clock: &dyn Clock,
    request: Request<Incoming>,
) -> Response {
    let started = clock.monotonic();
    // The query is left out: it may carry an access token.
    let span = tracing::info_span!(
        "request",
        http.method = request.method().as_str(),
        http.path = request.uri().path(),
        http.route = tracing::field::Empty,
        http.response.status_code = tracing::field::Empty,
        otel.kind = "server",
    );
    let response = if declared_bytes(&request) > bounds.bytes_max as u64 {
        too_large(bounds.bytes_max)
    } else {
        route(router, bounds, request)
            .instrument(span.clone())
            .await
    };
    describe(&span, &response);
    record(&response, clock.monotonic().saturating_sub(started));
    response
}

/// The length that the head declares; 0 if it declares none.
fn declared_bytes(request: &Request<Incoming>) -> u64 {
    let length = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    length.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Calls the router. `Limited` is outermost, so that extractors recognise its error and answer 413.
async fn route(mut router: Router, bounds: BodyBounds, request: Request<Incoming>) -> Response {
    let request = request
        .map(|body| Limited::new(TimeoutBody::new(bounds.stall_max, body), bounds.bytes_max));
    let called = AssertUnwindSafe(router.call(request)).catch_unwind();
    match called.await {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(panic) => {
            report_panic("request", panic.as_ref());
            json(
                StatusCode::INTERNAL_SERVER_ERROR,
                "M_UNKNOWN",
                "the server failed",
            )
        }
    }
}

/// The body was not read, so the connection cannot be used again.
fn too_large(bytes_max: usize) -> Response {
    let text = format!("the body may have at most {bytes_max} bytes");
    let mut response = json(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", &text);
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// An error in the form of the client-server API; `errcode` and `error` need no escapes.
fn json(status: StatusCode, errcode: &str, error: &str) -> Response {
    let body = format!(r#"{{"errcode":"{errcode}","error":"{error}"}}"#);
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// What a trace shows of a request.
fn describe(span: &Span, response: &Response) {
    span.record("http.route", endpoint(response));
    span.record("http.response.status_code", response.status().as_u16());
}

fn endpoint(response: &Response) -> &'static str {
    let named = response.extensions().get::<Endpoint>();
    named.map_or("other", |named| named.0)
}

fn record(response: &Response, took: Duration) {
    let endpoint = endpoint(response);
    let status = response.status().as_str().to_owned();
    metrics::counter!("hanse_http_requests_total", "endpoint" => endpoint, "status" => status)
        .increment(1);
    metrics::histogram!("hanse_http_request_seconds", "endpoint" => endpoint)
        .record(took.as_secs_f64());
}
