//! The store that a measurement runs on.

use std::{path::Path, sync::Arc};

use anyhow::Context;
use clap::Args;
use hanse_runtime::SystemClock;
use hanse_store::Store;
use hanse_store_embedded::{EmbeddedStore, Options};
use hanse_store_scylla::{ScyllaConfig, ScyllaStore};

/// The CQL cluster to measure on, if on one.
#[derive(Clone, Debug, Args)]
pub struct MeasuredCluster {
    /// Contact points of a CQL cluster, `HOST:PORT`; without any the embedded engine is used
    #[arg(long, value_delimiter = ',')]
    nodes: Vec<String>,
    /// Copies of each row on a cluster
    #[arg(long, default_value_t = 1)]
    copies: u8,
}

impl MeasuredCluster {
    /// A keyspace of this process; none if no cluster is named.
    pub async fn open(&self, name: &str) -> anyhow::Result<Option<Arc<dyn Store>>> {
        if self.nodes.is_empty() {
            return Ok(None);
        }
        let config = ScyllaConfig {
            keyspace: of_this_process(name),
            replication_factor: self.copies,
            ..ScyllaConfig::new(self.nodes.clone(), now_ms())
        };
        let store = ScyllaStore::connect(config).await;
        Ok(Some(Arc::new(store.context("cannot connect")?)))
    }

    /// The same, or the embedded engine below a directory.
    pub async fn open_or_embedded(
        &self,
        directory: &Path,
        name: &str,
    ) -> anyhow::Result<Arc<dyn Store>> {
        if let Some(store) = self.open(name).await? {
            return Ok(store);
        }
        let path = directory.join(of_this_process(name));
        Ok(EmbeddedStore::open(path, Options::new(now_ms()))?)
    }
}

fn of_this_process(name: &str) -> String {
    format!("{name}_{}", std::process::id())
}

fn now_ms() -> Arc<dyn Fn() -> i64 + Send + Sync> {
    let clock = SystemClock::shared();
    Arc::new(move || clock.now_ms())
}
