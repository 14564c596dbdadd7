//! The context of a trace as it travels with calls and entries, in the form of W3C Trace Context.
//!
//! Invariant: only what is sampled travels; whoever gets nothing need not do anything.
//! Invariant: contexts from outside of the deployment are not taken on: whoever sends requests does
//! not decide what is traced.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
};

use opentelemetry::{propagation::TextMapPropagator, trace::TraceContextExt};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The name of the header, and of the gRPC metadata.
pub const TRACEPARENT: &str = "traceparent";

/// Whether spans go anywhere.
static ON: AtomicBool = AtomicBool::new(false);

pub(crate) fn switch_on() {
    ON.store(true, Ordering::Relaxed);
}

/// The present span, as a `traceparent`; empty unless its trace is sampled.
pub fn present() -> String {
    if !ON.load(Ordering::Relaxed) {
        return String::new();
    }
    let context = Span::current().context();
    if !context.span().span_context().is_sampled() {
        return String::new();
    }
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&context, &mut carrier);
    carrier.remove(TRACEPARENT).unwrap_or_default()
}

/// Makes a span that has not been entered yet a child of what a `traceparent` names. Does nothing if
/// that is empty or not valid.
pub fn adopt(span: &Span, traceparent: &str) {
    if traceparent.is_empty() || !ON.load(Ordering::Relaxed) {
        return;
    }
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    let context = TraceContextPropagator::new().extract(&carrier);
    if context.span().span_context().is_valid() {
        // Fails only for a span that nobody records.
        let _ = span.set_parent(context);
    }
}

/// Notes in the present span that a `traceparent` has to do with it.
pub fn link(traceparent: &str) {
    if traceparent.is_empty() || !ON.load(Ordering::Relaxed) {
        return;
    }
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    let context = TraceContextPropagator::new().extract(&carrier);
    Span::current().add_link(context.span().span_context().clone());
}
