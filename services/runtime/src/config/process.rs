//! Sections `[telemetry]`, `[admin]` and `[drain]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::DrainLimits;

/// `[telemetry]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// How a line of the log looks. Logs go to standard error.
    pub log_format: LogFormat,
    /// What is logged: a level, or levels by module.
    #[schemars(extend("x-allowed" = "error, warn, info, debug, trace, or a list such as info,hanse_log=debug"))]
    pub log_level: String,
    /// Where traces are sent by OTLP over gRPC; none are made unless it is set.
    #[schemars(extend("x-example" = "http://otel-collector:4317"))]
    pub otlp_endpoint: Option<String>,
    /// How many of a thousand requests are traced.
    #[schemars(range(min = 0, max = 1000))]
    pub trace_per_mille: u32,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            log_format: LogFormat::Text,
            // ruma and the stores report each check, file and connection at `info`.
            log_level: "info,ruma_state_res=warn,fjall=warn,lsm_tree=warn,scylla=warn".to_owned(),
            otlp_endpoint: None,
            trace_per_mille: 10,
        }
    }
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[admin]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// The Unix socket, open to the server's own user only; `admin.sock` in the data directory
    /// unless set.
    #[schemars(extend("x-example" = "/run/hanse/admin.sock"))]
    pub socket: Option<PathBuf>,
}

impl Admin {
    /// Where the socket is, given the data directory.
    pub fn socket_path(&self, data: &Path) -> PathBuf {
        self.socket
            .clone()
            .unwrap_or_else(|| data.join("admin.sock"))
    }
}

/// `[drain]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// How long /ready says no before connections are refused, in milliseconds: give a load
    /// balancer time to notice.
    #[schemars(range(min = 0, max = 300_000))]
    pub readiness_delay_ms: u64,
    /// After how long what still runs is cut off, in milliseconds; a second signal does it at once.
    #[schemars(range(min = 100, max = 600_000))]
    pub hard_after_ms: u64,
}

impl Drain {
    /// The same as durations.
    pub fn limits(&self) -> DrainLimits {
        DrainLimits {
            readiness_delay: Duration::from_millis(self.readiness_delay_ms),
            hard_after: Duration::from_millis(self.hard_after_ms),
        }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            readiness_delay_ms: 0,
            hard_after_ms: 30_000,
        }
    }
}
