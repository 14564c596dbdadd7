//! The store that never fails.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use hanse_store::{
    ConditionalBatch, Consistency, Durability, Key, Mutation, Outcome, Page, Row, Scan, Store,
    StoreError, Table,
};
use parking_lot::Mutex;

use crate::{Commit, Data};

/// Tells the time in Unix milliseconds.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// A store in memory. Every call is done when it returns, on the caller's thread; a clone of the `Arc`
/// is the same store.
pub struct MemoryStore {
    data: Mutex<Data>,
    clock: Clock,
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

impl MemoryStore {
    /// Without tables. `clock`: the time by which rows expire.
    pub fn new(clock: Clock) -> Arc<Self> {
        let data = Mutex::default();
        Arc::new(Self { data, clock })
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn create_tables(&self, tables: &[&'static Table]) -> Result<(), StoreError> {
        self.data.lock().create_tables(tables)
    }

    async fn get(
        &self,
        table: &'static Table,
        key: &Key,
        consistency: Consistency,
    ) -> Result<Option<Row>, StoreError> {
        table.check_get(key, consistency)?;
        let now_ms = (self.clock)();
        self.data.lock().get(table, key, consistency, now_ms)
    }

    async fn scan(&self, scan: Scan) -> Result<Page, StoreError> {
        scan.check()?;
        let now_ms = (self.clock)();
        self.data.lock().scan(&scan, now_ms)
    }

    async fn apply(
        &self,
        mutations: Vec<Mutation>,
        _durability: Durability,
    ) -> Result<(), StoreError> {
        mutations.iter().try_for_each(Mutation::check)?;
        Mutation::check_total(&mutations)?;
        let now_ms = (self.clock)();
        let mut data = self.data.lock();
        mutations
            .iter()
            .try_for_each(|mutation| data.apply(mutation, now_ms))
    }

    async fn conditional(&self, batch: ConditionalBatch) -> Result<Outcome, StoreError> {
        batch.check()?;
        let mut data = self.data.lock();
        let partition = data.partition(batch.table, &batch.partition)?;
        Ok(partition.decide(&batch, Commit::Now))
    }

    async fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
