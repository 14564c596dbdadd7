//! The store: the verbs, each handed to its own file.

use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use hanse_store::{
    ConditionalBatch, Consistency, Durability, Key, Mutation, Outcome, Page, Row, Scan, Store,
    StoreError, Table,
};
use scylla::client::session_builder::SessionBuilder;

use crate::{
    ConnectError, Dialect, ScyllaConfig, connect, engine::Engine, error, schema,
    share::SharedQueries,
};

/// A row that is asked for: table, key, and how fresh it must be.
type Wanted = (&'static str, Key, Consistency);
/// What several callers can be given.
type Answer<T> = Result<T, Arc<StoreError>>;

/// A store on a CQL cluster. Cheap to share, safe to use from any task.
pub struct ScyllaStore {
    engine: Arc<Engine>,
    gets: SharedQueries<Wanted, Answer<Option<Row>>>,
    scans: SharedQueries<Scan, Answer<Page>>,
}

impl ScyllaStore {
    /// Connects and checks that the cluster can serve: one data centre, conditional writes, copies.
    pub async fn connect(config: ScyllaConfig) -> Result<Self, ConnectError> {
        Self::connect_with(config, |builder| builder).await
    }

    /// The same, with the driver's session built as the caller likes (TLS, address translation).
    pub async fn connect_with(
        config: ScyllaConfig,
        customize: impl FnOnce(SessionBuilder) -> SessionBuilder,
    ) -> Result<Self, ConnectError> {
        let (session, dialect) = connect::connect(&config, customize).await?;
        Ok(Self {
            engine: Arc::new(Engine::new(session, dialect, config)),
            gets: SharedQueries::new("get"),
            scans: SharedQueries::new("scan"),
        })
    }

    /// What the server turned out to be.
    pub fn dialect(&self) -> Dialect {
        self.engine.dialect
    }
}

#[async_trait]
impl Store for ScyllaStore {
    async fn create_tables(&self, tables: &[&'static Table]) -> Result<(), StoreError> {
        schema::create_tables(&self.engine, tables).await
    }

    async fn get(
        &self,
        table: &'static Table,
        key: &Key,
        consistency: Consistency,
    ) -> Result<Option<Row>, StoreError> {
        table.check_get(key, consistency)?;
        let run = || {
            let (engine, key) = (Arc::clone(&self.engine), key.clone());
            async move {
                if table.asks_for_statics(&key) {
                    engine.read_statics(table, &key, consistency).await
                } else {
                    engine.read_row(table, &key, consistency).await
                }
            }
            .map(|read| read.map_err(Arc::new))
            .boxed()
        };
        let wanted = (table.name, key.clone(), consistency);
        self.gets.ask(wanted, run).await.map_err(error::shared)
    }

    async fn scan(&self, scan: Scan) -> Result<Page, StoreError> {
        scan.check()?;
        let run = || {
            let (engine, scan) = (Arc::clone(&self.engine), scan.clone());
            async move { engine.read_range(&scan).await.map_err(Arc::new) }.boxed()
        };
        let asked = self.scans.ask(scan.clone(), run);
        asked.await.map_err(error::shared)
    }

    async fn apply(
        &self,
        mutations: Vec<Mutation>,
        _durability: Durability,
    ) -> Result<(), StoreError> {
        Mutation::check_total(&mutations)?;
        mutations.iter().try_for_each(Mutation::check)?;
        self.engine.write(&mutations).await
    }

    async fn conditional(&self, batch: ConditionalBatch) -> Result<Outcome, StoreError> {
        batch.check()?;
        self.engine.decide(&batch).await
    }

    /// Nothing to do: what a quorum acknowledged is as durable as its replicas make it.
    async fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
