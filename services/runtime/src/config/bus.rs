//! Section `[bus]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[bus]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bus {
    /// The Redis server that all processes share, or some nodes of one Redis cluster. Empty: one
    /// process, which needs none. Nothing is kept there, and it may vanish at any moment.
    #[schemars(extend("x-allowed" = "a list of URLs such as redis://USER:PASSWORD@10.0.0.7:6379"))]
    pub redis: Vec<String>,
    /// Which of the deployments that share the Redis server this is: part of the channels' names.
    #[schemars(extend("x-allowed" = "1 to 64 letters, digits, -, . and _"))]
    pub deployment: String,
}

impl Bus {
    /// The longest name of a deployment, in bytes.
    pub const DEPLOYMENT_BYTES_MAX: usize = 64;
}

impl Default for Bus {
    fn default() -> Self {
        Self {
            redis: Vec::new(),
            deployment: "hanse".to_owned(),
        }
    }
}
