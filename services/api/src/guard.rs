//! What stands around each handler: a place of its class, and its name for the metrics.

use std::{pin::Pin, sync::Arc};

use axum::{
    extract::Request,
    handler::Handler,
    response::{IntoResponse, Response},
};
use hanse_runtime::http::Endpoint;

use crate::admission::{AdmissionLimits, Class, Gate};

/// The gates of all classes.
#[derive(Debug)]
pub(crate) struct Guards {
    sync: Arc<Gate>,
    write: Arc<Gate>,
    read: Arc<Gate>,
    media: Arc<Gate>,
}

impl Guards {
    pub(crate) fn new(limits: &AdmissionLimits) -> Self {
        let gate = |class, limits| Arc::new(Gate::new(class, limits));
        Self {
            sync: gate(Class::Sync, limits.sync),
            write: gate(Class::Write, limits.write),
            read: gate(Class::Read, limits.read),
            media: gate(Class::Media, limits.media),
        }
    }

    pub(crate) fn guard(&self, class: Class, name: &'static str) -> Guard {
        let gate = match class {
            Class::Sync => &self.sync,
            Class::Write => &self.write,
            Class::Read => &self.read,
            Class::Media => &self.media,
        };
        Guard {
            gate: Arc::clone(gate),
            endpoint: Endpoint(name),
        }
    }
}

/// The guard of one endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    gate: Arc<Gate>,
    /// The listener counts and times the response under this name.
    endpoint: Endpoint,
}

/// A handler behind its guard.
#[derive(Clone)]
pub(crate) struct Guarded<H> {
    handler: H,
    guard: Guard,
}

impl<H> Guarded<H> {
    pub(crate) fn new(handler: H, guard: Guard) -> Self {
        Self { handler, guard }
    }
}

impl<H, T, S> Handler<T, S> for Guarded<H>
where
    H: Handler<T, S>,
    T: Send + 'static,
    S: Send + 'static,
{
    type Future = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, request: Request, state: S) -> Self::Future {
        Box::pin(async move {
            let mut response = match self.guard.gate.enter().await {
                Ok(_place) => self.handler.call(request, state).await,
                Err(busy) => busy.into_response(),
            };
            response.extensions_mut().insert(self.guard.endpoint);
            response
        })
    }
}
