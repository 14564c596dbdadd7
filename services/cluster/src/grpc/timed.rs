//! Rate, errors and duration of each gRPC method, as it is answered here.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use hanse_runtime::Clock;
use http::{Request, Response};
use tonic::{Code, Status};
use tower::Service;

/// Methods of others are not told apart: there is no end of names that a caller can make up.
const OWN: &str = "/hanse.";
const UNKNOWN: &str = "unknown";

/// Counts and times the calls of all services.
#[derive(Clone)]
pub(super) struct Timed<S> {
    service: S,
    clock: Arc<dyn Clock>,
}

impl<S> Timed<S> {
    pub(super) fn new(service: S, clock: Arc<dyn Clock>) -> Self {
        Self { service, clock }
    }
}

impl<S, Sent, Answered> Service<Request<Sent>> for Timed<S>
where
    S: Service<Request<Sent>, Response = Response<Answered>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Sent>) -> Self::Future {
        let method = request.uri().path().to_owned();
        let clock = Arc::clone(&self.clock);
        let begun = clock.monotonic();
        let answer = self.service.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            let took = clock.monotonic().saturating_sub(begun);
            note(method, code(&answer), took);
            Ok(answer)
        })
    }
}

/// A call that is refused is refused by its headers; what begins to answer counts as answered.
fn code<T>(answer: &Response<T>) -> Code {
    Status::from_header_map(answer.headers()).map_or(Code::Ok, |status| status.code())
}

/// Until the answer begins: that is all of it, but for answers that are streamed.
fn note(method: String, code: Code, took: Duration) {
    let own = method.starts_with(OWN) && code != Code::Unimplemented;
    let method = if own { method } else { UNKNOWN.to_owned() };
    let status = format!("{code:?}");
    metrics::histogram!("hanse_grpc_request_seconds", "method" => method.clone())
        .record(took.as_secs_f64());
    metrics::counter!("hanse_grpc_requests_total", "method" => method, "status" => status)
        .increment(1);
}
