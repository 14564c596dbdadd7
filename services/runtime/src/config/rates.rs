//! Section `[rate_limits]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[rate_limits]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimits {
    /// False switches all of them off, for tests and measurements.
    pub enabled: bool,
    /// New accounts, by address.
    pub registration: Rate,
    /// Attempts to log in, by address and by account.
    pub login: Rate,
    /// Events sent, by user.
    pub messages: Rate,
    /// Typing notices sent, by user.
    pub typing: Rate,
    /// Rooms created, by user.
    pub room_creation: Rate,
    /// Rooms joined, by user.
    pub joins: Rate,
    /// Invites sent, by user.
    pub invites: Rate,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            enabled: true,
            registration: Rate {
                per_minute: 10,
                burst: 10,
            },
            login: Rate {
                per_minute: 30,
                burst: 30,
            },
            messages: Rate {
                per_minute: 600,
                burst: 200,
            },
            typing: Rate {
                per_minute: 120,
                burst: 60,
            },
            room_creation: Rate {
                per_minute: 20,
                burst: 20,
            },
            joins: Rate {
                per_minute: 60,
                burst: 60,
            },
            invites: Rate {
                per_minute: 120,
                burst: 120,
            },
        }
    }
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How many a minute in the long run.
    #[schemars(range(min = 1, max = 6_000_000))]
    pub per_minute: u32,
    /// How many at once after a pause.
    #[schemars(range(min = 1, max = 6_000_000))]
    pub burst: u32,
}
