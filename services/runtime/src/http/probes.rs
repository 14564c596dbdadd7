//! What machines ask: whether the process lives, whether it wants traffic, how it is doing.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;

use crate::Readiness;
use crate::telemetry::Metrics;

pub(super) fn router(readiness: Readiness, metrics: Metrics) -> Router {
    let ready = Router::new()
        .route("/ready", get(ready))
        .with_state(readiness);
    let metrics = Router::new()
        .route("/metrics", get(scrape))
        .with_state(metrics);
    ready
        .merge(metrics)
        .route("/health", get(|| async { "ok\n" }))
}

/// `GET /ready`: 200, or 503 with the parts that are missing.
async fn ready(State(readiness): State<Readiness>) -> impl IntoResponse {
    let missing = readiness.missing();
    if missing.is_empty() {
        (StatusCode::OK, "ready\n".to_owned())
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("waiting for: {}\n", missing.join(", ")),
        )
    }
}

/// `GET /metrics`, in Prometheus' text format.
async fn scrape(State(metrics): State<Metrics>) -> impl IntoResponse {
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4")],
        metrics.render(),
    )
}
