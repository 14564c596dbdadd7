//! Logs, metrics and traces of the process.

mod traces;

use std::io::IsTerminal;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry_otlp::ExporterBuildError;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, Registry, registry};

use crate::config::{LogFormat, Telemetry};

pub use traces::Traces;

/// Upper bounds of every `*_seconds` histogram, in seconds.
const SECONDS_BUCKETS: [f64; 14] = [
    0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 30.0,
];

/// How often samples are folded into their histograms, whether anybody scrapes or not.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Why telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log filter does not parse; the configuration's check finds this first.
    #[error("cannot read the log filter")]
    Filter(#[from] ParseError),
    /// Another logger or recorder is installed in this process.
    #[error("logging is already set up")]
    Logger(#[from] TryInitError),
    /// The metrics recorder cannot be installed.
    #[error("cannot set up metrics")]
    Recorder(#[from] BuildError),
    /// The exporter of traces cannot be set up.
    #[error("cannot export traces")]
    Traces(#[from] ExporterBuildError),
}

/// Sets up logging to standard error, the metrics recorder, and traces if they are configured; once
/// per process, inside of its runtime. `instance` is this process's name in traces.
pub fn init(
    settings: &Telemetry,
    instance: &str,
) -> Result<(Metrics, Option<Traces>), TelemetryError> {
    let traces = Traces::start(settings, instance)?;
    registry()
        .with(lines(settings)?)
        .with(traces.as_ref().map(Traces::layer))
        .try_init()?;
    let handle = recorder()?.install_recorder()?;
    Ok((Metrics { handle }, traces))
}

/// The lines of the log.
fn lines(settings: &Telemetry) -> Result<impl Layer<Registry> + use<>, ParseError> {
    let filter = EnvFilter::try_new(&settings.log_level)?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match settings.log_format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    Ok(lines.with_filter(filter))
}

fn recorder() -> Result<PrometheusBuilder, BuildError> {
    let seconds = Matcher::Suffix("_seconds".to_owned());
    PrometheusBuilder::new().set_buckets_for_metric(seconds, &SECONDS_BUCKETS)
}

/// What `/metrics` shows.
#[derive(Clone, Debug)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl Metrics {
    /// Metrics of nothing, for a listener in a test: the recorder is not installed.
    pub fn detached() -> Self {
        Self {
            handle: PrometheusBuilder::new().build_recorder().handle(),
        }
    }

    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Keeps the memory of histograms bounded until `soft` is cancelled. Runs as a task.
    pub async fn upkeep(self, soft: CancellationToken) {
        while soft
            .run_until_cancelled(tokio::time::sleep(UPKEEP_EVERY))
            .await
            .is_some()
        {
            self.handle.run_upkeep();
        }
    }
}
