//! How a cluster is reached.

use std::{sync::Arc, time::Duration};

/// Tells the time in Unix milliseconds.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Settings of a store on a CQL cluster.
#[derive(Clone)]
pub struct ScyllaConfig {
    /// Contact points, `host:port`; the driver finds the other nodes by them.
    pub nodes: Vec<String>,
    /// The keyspace. Created if it does not exist.
    pub keyspace: String,
    /// Copies of each row. Used when the keyspace is created, and never to change one; a keyspace
    /// that has fewer is refused.
    pub replication_factor: u8,
    /// User name and password, if the cluster asks for them.
    pub credentials: Option<(String, String)>,
    /// How long opening one connection may take.
    pub connect_timeout: Duration,
    /// How long one request may take, retries included. Keep it above the server's own time-outs,
    /// so that a slow request is answered by the server, which knows more than we do.
    pub request_timeout: Duration,
    /// The time by which rows expire.
    pub clock: Clock,
}

impl ScyllaConfig {
    /// The default keyspace.
    pub const KEYSPACE: &'static str = "hanse";
    /// The default number of copies.
    pub const REPLICATION_FACTOR: u8 = 3;
    /// The default time-out of a connection.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
    /// The default time-out of a request.
    pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

    /// The defaults for a cluster with these contact points.
    pub fn new(nodes: Vec<String>, clock: Clock) -> Self {
        Self {
            nodes,
            keyspace: Self::KEYSPACE.to_owned(),
            replication_factor: Self::REPLICATION_FACTOR,
            credentials: None,
            connect_timeout: Self::CONNECT_TIMEOUT,
            request_timeout: Self::REQUEST_TIMEOUT,
            clock,
        }
    }
}
