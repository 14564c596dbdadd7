//! A store that counts rows.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use hanse_store::{
    ConditionalBatch, Consistency, Durability, Key, Mutation, Outcome, Page, Row, Scan, Store,
    StoreError, Table,
};

/// Rows so far, conditional batches as one each way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count {
    pub(super) written: u64,
    /// Look-ups, and rows that scans gave.
    pub(super) read: u64,
}

impl Count {
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            written: self.written - before.written,
            read: self.read - before.read,
        }
    }
}

pub(super) struct Counted {
    store: Arc<dyn Store>,
    written: AtomicU64,
    read: AtomicU64,
}

impl Counted {
    pub(super) fn new(store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            store,
            written: AtomicU64::new(0),
            read: AtomicU64::new(0),
        })
    }

    pub(super) fn count(&self) -> Count {
        Count {
            written: self.written.load(Ordering::Relaxed),
            read: self.read.load(Ordering::Relaxed),
        }
    }
}

#[async_trait]
impl Store for Counted {
    async fn create_tables(&self, tables: &[&'static Table]) -> Result<(), StoreError> {
        self.store.create_tables(tables).await
    }

    async fn get(
        &self,
        table: &'static Table,
        key: &Key,
        consistency: Consistency,
    ) -> Result<Option<Row>, StoreError> {
        self.read.fetch_add(1, Ordering::Relaxed);
        self.store.get(table, key, consistency).await
    }

    async fn scan(&self, scan: Scan) -> Result<Page, StoreError> {
        let page = self.store.scan(scan).await?;
        self.read
            .fetch_add(page.rows.len() as u64, Ordering::Relaxed);
        Ok(page)
    }

    async fn apply(
        &self,
        mutations: Vec<Mutation>,
        durability: Durability,
    ) -> Result<(), StoreError> {
        self.written
            .fetch_add(mutations.len() as u64, Ordering::Relaxed);
        self.store.apply(mutations, durability).await
    }

    async fn conditional(&self, batch: ConditionalBatch) -> Result<Outcome, StoreError> {
        self.written.fetch_add(1, Ordering::Relaxed);
        self.store.conditional(batch).await
    }

    async fn sync(&self) -> Result<(), StoreError> {
        self.store.sync().await
    }
}
