//! Section `[cluster]`.

use std::{net::SocketAddr, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[cluster]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Where the other processes call this one. Unset: this process is alone. Whoever reaches it can
    /// do anything, unless certificates are asked for: keep it inside, and never on the address of the
    /// clients.
    #[schemars(
        with = "Option<String>",
        extend("x-allowed" = "ADDRESS:PORT such as 10.0.0.7:8009", "x-example" = "10.0.0.7:8009")
    )]
    pub listen: Option<SocketAddr>,
    /// How the other processes reach it, where that is not the address it listens on.
    #[schemars(extend("x-allowed" = "HOST:PORT", "x-example" = "hanse-0.internal:8009"))]
    pub advertise: Option<String>,
    /// Into how many slots rooms, users and names are divided. The first start decides it for ever;
    /// every process must say the same.
    #[schemars(range(min = 1, max = 65_536))]
    pub slots: u32,
    /// The authority that signed the certificates of all processes, in PEM. With it, `tls_cert` and
    /// `tls_key` the processes talk by mTLS only; changed files are read again.
    #[schemars(extend("x-example" = "/run/hanse/tls/ca.crt"))]
    pub tls_ca: Option<PathBuf>,
    /// This process's certificate and its chain, in PEM.
    #[schemars(extend("x-example" = "/run/hanse/tls/tls.crt"))]
    pub tls_cert: Option<PathBuf>,
    /// Its key, in PEM.
    #[schemars(extend("x-example" = "/run/hanse/tls/tls.key"))]
    pub tls_key: Option<PathBuf>,
    /// The DNS name in the certificates of all processes.
    pub tls_name: String,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            listen: None,
            advertise: None,
            slots: 256,
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
            tls_name: "hanse".to_owned(),
        }
    }
}
