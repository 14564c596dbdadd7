//! The store's conformance suite on a CQL server.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use hanse_store::{Store, conformance::Subject};
use hanse_store_scylla::ScyllaStore;

use crate::server;

/// A store with a session of its own in the run's keyspace.
struct Cluster {
    store: Option<Arc<ScyllaStore>>,
}

#[async_trait]
impl Subject for Cluster {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone().expect("an open store")
    }

    fn prefix(&self) -> String {
        // The keyspace is the run's own.
        String::new()
    }

    fn now_ms(&self) -> i64 {
        server::now_ms()
    }

    /// The server's time cannot be set.
    async fn pass(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    /// Opens a new session. The server goes on: its restarts are a matter of the cluster's tests.
    async fn reopen(&mut self) {
        self.store = None;
        self.store = Some(server::store().await);
    }
}

async fn make_store() -> Cluster {
    server::store_tables().await;
    Cluster {
        store: Some(server::store().await),
    }
}

hanse_store::store_conformance!(make_store);
