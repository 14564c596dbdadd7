//! Section `[store]`.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[store]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// What keeps the data. Changing it does not move them.
    pub engine: StoreEngine,
    /// Contact points of the CQL cluster; the other nodes are found by them.
    #[schemars(extend("x-allowed" = "a list of HOST:PORT"))]
    pub nodes: Vec<String>,
    /// The keyspace in that cluster; made if there is none. One for each server name.
    #[schemars(extend("x-allowed" = "at most 48 of a to z, 0 to 9 and _, the first of them a letter"))]
    pub keyspace: String,
    /// Copies of each row, when the keyspace is made. A keyspace that keeps fewer is refused.
    #[schemars(range(min = 1, max = 9))]
    pub replication_factor: u8,
    /// Who logs in to the cluster, if it asks.
    #[schemars(extend("x-example" = "hanse"))]
    pub user: Option<String>,
    /// The password; better given as an environment variable.
    #[schemars(with = "Option<String>", extend("x-example" = "secret"))]
    pub password: Option<Secret>,
    /// How long opening a connection to a node may take, in milliseconds.
    #[schemars(range(min = 100, max = 120_000))]
    pub connect_timeout_ms: u64,
    /// How long a request to the cluster may take, in milliseconds. More than the time-outs that the
    /// cluster has for itself: its answer says more than ours.
    #[schemars(range(min = 100, max = 120_000))]
    pub request_timeout_ms: u64,
}

impl Store {
    /// [`Store::connect_timeout_ms`] as a duration.
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// [`Store::request_timeout_ms`] as a duration.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// User and password, if both are set.
    pub fn credentials(&self) -> Option<(String, String)> {
        let password = self.password.as_ref()?.0.clone();
        Some((self.user.clone()?, password))
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            engine: StoreEngine::Embedded,
            nodes: vec!["127.0.0.1:9042".to_owned()],
            keyspace: "hanse".to_owned(),
            replication_factor: 3,
            user: None,
            password: None,
            connect_timeout_ms: 5_000,
            request_timeout_ms: 10_000,
        }
    }
}

/// What keeps the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StoreEngine {
    /// Files in the data directory.
    Embedded,
    /// A ScyllaDB cluster, or one of Apache Cassandra.
    Cql,
}

/// A text that no log shows.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_used_and_never_shown() {
        let store = Store {
            user: Some("hanse".to_owned()),
            password: Some(Secret("hunter2".to_owned())),
            ..Store::default()
        };
        let both = Some(("hanse".to_owned(), "hunter2".to_owned()));
        assert_eq!(store.credentials(), both);
        assert!(!format!("{store:?}").contains("hunter2"));
    }
}
