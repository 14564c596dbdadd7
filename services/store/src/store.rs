//! The verbs.

use async_trait::async_trait;

use crate::{
    ConditionalBatch, Consistency, Durability, Key, Mutation, Outcome, Page, Row, Scan, StoreError,
    Table,
};

/// A store engine. All verbs may be called concurrently.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Creates the tables that do not exist yet. Must be called before a table is used.
    async fn create_tables(&self, tables: &[&'static Table]) -> Result<(), StoreError>;

    /// One row by its full key; expired and deleted rows are `None`. On a table with statics and
    /// an empty clustering key: the statics alone.
    async fn get(
        &self,
        table: &'static Table,
        key: &Key,
        consistency: Consistency,
    ) -> Result<Option<Row>, StoreError>;

    /// A range of one partition, live rows only, a page at a time.
    async fn scan(&self, scan: Scan) -> Result<Page, StoreError>;

    /// Writes rows of `Stamped` and `Once` tables. Not atomic across rows: after an error any part
    /// may have been written, and writing the same again is harmless.
    async fn apply(
        &self,
        mutations: Vec<Mutation>,
        durability: Durability,
    ) -> Result<(), StoreError>;

    /// A conditional batch on one partition of a `Cas` table, atomic, on disk when it returns.
    /// [`StoreError::Unknown`] if it may or may not have been applied.
    async fn conditional(&self, batch: ConditionalBatch) -> Result<Outcome, StoreError>;

    /// Returns when everything that `apply` acknowledged as `Buffered` before is on disk.
    async fn sync(&self) -> Result<(), StoreError>;
}
