//! A service that is at work for no longer than it may, whatever its callers say.

use std::{
    convert::Infallible,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{Request, Response};
use tonic::{Status, body::Body, server::NamedService};
use tower::Service;

/// Each call of the service ends within the limit.
#[derive(Clone, Debug)]
pub(super) struct Within<S> {
    limit: Duration,
    service: S,
}

impl<S> Within<S> {
    pub(super) fn new(limit: Duration, service: S) -> Self {
        Self { limit, service }
    }
}

impl<S> Service<Request<Body>> for Within<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = tokio::time::timeout(self.limit, self.service.call(request));
        Box::pin(async move {
            let late = |_| Ok(Status::deadline_exceeded("at work for too long").into_http());
            answer.await.unwrap_or_else(late)
        })
    }
}

impl<S: NamedService> NamedService for Within<S> {
    const NAME: &'static str = S::NAME;
}

#[cfg(test)]
mod tests {
    use tower::{ServiceExt, service_fn};

    use super::*;

    /// Red if a call that has no end has none.
    #[tokio::test(start_paused = true)]
    async fn a_call_that_does_not_end_is_ended() {
        let endless = service_fn(|_: Request<Body>| async {
            std::future::pending::<Result<Response<Body>, Infallible>>().await
        });
        let service = Within::new(Duration::from_secs(10), endless);
        let answer = service.oneshot(Request::new(Body::empty()));
        let answer = tokio::time::timeout(Duration::from_secs(11), answer).await;
        let answer = answer.expect("it ends").unwrap();
        assert_eq!(answer.headers()["grpc-status"], "4");
    }
}
