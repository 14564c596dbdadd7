//! Traces, exported by OTLP over gRPC.

use std::{fmt, time::Duration};

use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracerProvider},
};
use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{Layer, filter::Targets, registry::LookupSpan};

use crate::{config::Telemetry, trace};

/// Spans of other crates are not exported: they name what they are about, who knows whom.
const OWN_TARGETS: &str = "hanse";
/// How long the last spans may take to be exported when the process ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Exports spans until it is shut down.
pub struct Traces {
    provider: SdkTracerProvider,
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces").finish_non_exhaustive()
    }
}

impl Traces {
    /// The exporter, if one is configured. To be called inside of the runtime that its connection
    /// lives in. `instance` tells the processes of a deployment apart.
    pub(super) fn start(
        settings: &Telemetry,
        instance: &str,
    ) -> Result<Option<Self>, ExporterBuildError> {
        let Some(endpoint) = &settings.otlp_endpoint else {
            return Ok(None);
        };
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .build()?;
        let attributes = [
            KeyValue::new("service.instance.id", instance.to_owned()),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ];
        let resource = Resource::builder()
            .with_service_name("hanse")
            .with_attributes(attributes);
        let ratio = f64::from(settings.trace_per_mille) / 1_000.0;
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)));
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.build())
            .with_sampler(sampler)
            .build();
        trace::switch_on();
        Ok(Some(Self { provider }))
    }

    /// What makes spans of ours into spans of traces.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let own = Targets::new().with_target(OWN_TARGETS, LevelFilter::INFO);
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("hanse"))
            .with_filter(own)
    }

    /// Exports what is left, within a bound. Blocks: to be called outside of the runtime.
    pub fn end(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH_TIMEOUT) {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}
