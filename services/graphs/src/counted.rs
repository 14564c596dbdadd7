//! A store that counts the rows that go through it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use hanse_store::{
    ConditionalBatch, Consistency, Durability, Key, Mutation, Outcome, Page, Row, Scan, Store,
    StoreError, Table,
};

/// Rows read and written since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowCount {
    /// Rows that were asked for by their key, there or not, and rows of ranges.
    pub read: u64,
    /// Rows of the archives that were written.
    pub written: u64,
}

impl RowCount {
    /// What came since an earlier count.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            read: self.read - earlier.read,
            written: self.written - earlier.written,
        }
    }
}

#[derive(Default)]
pub(crate) struct Counters {
    read: AtomicU64,
    written: AtomicU64,
}

impl Counters {
    pub(crate) fn count(&self) -> RowCount {
        RowCount {
            read: self.read.load(Ordering::Relaxed),
            written: self.written.load(Ordering::Relaxed),
        }
    }
}

/// Counts, and hands on.
pub(crate) struct CountedStore {
    store: Arc<dyn Store>,
    counters: Arc<Counters>,
}

impl fmt::Debug for CountedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CountedStore").finish_non_exhaustive()
    }
}

impl CountedStore {
    pub(crate) fn new(store: Arc<dyn Store>) -> (Arc<Self>, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        let counted = Self {
            store,
            counters: Arc::clone(&counters),
        };
        (Arc::new(counted), counters)
    }
}

#[async_trait::async_trait]
impl Store for CountedStore {
    async fn create_tables(&self, tables: &[&'static Table]) -> Result<(), StoreError> {
        self.store.create_tables(tables).await
    }

    async fn get(
        &self,
        table: &'static Table,
        key: &Key,
        consistency: Consistency,
    ) -> Result<Option<Row>, StoreError> {
        self.counters.read.fetch_add(1, Ordering::Relaxed);
        self.store.get(table, key, consistency).await
    }

    async fn scan(&self, scan: Scan) -> Result<Page, StoreError> {
        let page = self.store.scan(scan).await?;
        let rows = page.rows.len() as u64;
        self.counters.read.fetch_add(rows, Ordering::Relaxed);
        Ok(page)
    }

    async fn apply(
        &self,
        mutations: Vec<Mutation>,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let rows = mutations.len() as u64;
        self.counters.written.fetch_add(rows, Ordering::Relaxed);
        self.store.apply(mutations, durability).await
    }

    async fn conditional(&self, batch: ConditionalBatch) -> Result<Outcome, StoreError> {
        self.store.conditional(batch).await
    }

    async fn sync(&self) -> Result<(), StoreError> {
        self.store.sync().await
    }
}
