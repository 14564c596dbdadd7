//! Section `[limits]`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[limits]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The largest request body, in bytes; larger ones get 413.
    #[schemars(range(min = 65_536, max = 1_073_741_824))]
    pub body_bytes_max: usize,
    /// The largest head of a request (request line and headers), in bytes.
    #[schemars(range(min = 8_192, max = 1_048_576))]
    pub header_bytes_max: usize,
    /// The most headers of a request.
    #[schemars(range(min = 16, max = 1_000))]
    pub headers_max: usize,
    /// The most connections at once; further ones get 503. A waiting /sync holds one.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_max: usize,
    /// The most requests at once on one HTTP/2 connection.
    #[schemars(range(min = 1, max = 10_000))]
    pub http2_streams_max: u32,
    /// How long a new connection may take for the head of its first request, in milliseconds.
    #[schemars(range(min = 100, max = 600_000))]
    pub first_request_ms_max: u64,
    /// How long a connection may be idle between requests, the next head included, in milliseconds.
    #[schemars(range(min = 1_000, max = 3_600_000))]
    pub idle_ms_max: u64,
    /// How long the body of a request may stand still, in milliseconds.
    #[schemars(range(min = 100, max = 600_000))]
    pub body_stall_ms_max: u64,
    /// The longest a /sync waits for something new, in milliseconds, whatever the client asks for.
    #[schemars(range(min = 1_000, max = 600_000))]
    pub long_poll_ms_max: u64,
}

impl Limits {
    /// `first_request_ms_max` as a duration.
    pub fn first_request(&self) -> Duration {
        Duration::from_millis(self.first_request_ms_max)
    }

    /// `idle_ms_max` as a duration.
    pub fn idle(&self) -> Duration {
        Duration::from_millis(self.idle_ms_max)
    }

    /// `body_stall_ms_max` as a duration.
    pub fn body_stall(&self) -> Duration {
        Duration::from_millis(self.body_stall_ms_max)
    }

    /// `long_poll_ms_max` as a duration.
    pub fn long_poll(&self) -> Duration {
        Duration::from_millis(self.long_poll_ms_max)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 1_048_576,
            header_bytes_max: 32_768,
            headers_max: 100,
            connections_max: 10_000,
            http2_streams_max: 250,
            first_request_ms_max: 10_000,
            idle_ms_max: 75_000,
            body_stall_ms_max: 20_000,
            long_poll_ms_max: 120_000,
        }
    }
}
