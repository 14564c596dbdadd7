//! Section `[bus]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[bus]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bus {
    /// The Redis server that all processes share, or some nodes of one Redis cluster. Empty: one
    /// process, which needs none. Nothing is kept there, and it may vanish at any moment. `rediss` is
    /// TLS, for all of them or none.
    #[schemars(extend("x-allowed" = "a list of URLs such as redis://USER:PASSWORD@10.0.0.7:6379, or rediss://"))]
    pub redis: Vec<String>,
    /// The authority that signed the server's certificate, in PEM; unset: those that the system
    /// trusts. Like the next two it is read at the start.
    #[schemars(extend("x-example" = "/run/hanse/redis/ca.crt"))]
    pub tls_ca: Option<PathBuf>,
    /// The certificate that this process shows to the server, if that asks for one, in PEM.
    #[schemars(extend("x-example" = "/run/hanse/redis/tls.crt"))]
    pub tls_cert: Option<PathBuf>,
    /// Its key, in PEM.
    #[schemars(extend("x-example" = "/run/hanse/redis/tls.key"))]
    pub tls_key: Option<PathBuf>,
    /// Which of the deployments that share the Redis server this is: part of the channels' names.
    #[schemars(extend("x-allowed" = "1 to 64 letters, digits, -, . and _"))]
    pub deployment: String,
}

impl Bus {
    /// Whether the way to the server is TLS.
    pub fn has_tls(&self) -> bool {
        self.redis.iter().any(|url| url.starts_with("rediss:"))
    }

    /// The longest name of a deployment, in bytes.
    pub const DEPLOYMENT_BYTES_MAX: usize = 64;
}

impl Default for Bus {
    fn default() -> Self {
        Self {
            redis: Vec::new(),
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
            deployment: "hanse".to_owned(),
        }
    }
}
