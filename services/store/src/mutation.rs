//! Unconditional writes: to `Stamped` tables, and to `Once` tables.

use crate::{Key, Table, Value};

/// Write timestamp of a `Stamped` row: microseconds, unique within a slot, fixed by the log entry.
pub type Stamp = i64;

/// Whether a write must be on disk before it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On disk (embedded: group fsync, unless the operator chose `--durability os`).
    Synced,
    /// May be lost with the machine (never with the process) until the next [`crate::Store::sync`].
    /// Right for what the log replays.
    Buffered,
}

/// A whole row of a `Stamped` or `Once` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StampedPut {
    /// The table.
    pub table: &'static Table,
    /// The full key.
    pub key: Key,
    /// One value for each value column, in the table's order.
    pub values: Vec<Value>,
    /// The stamp. Ignored on `Once` tables.
    pub stamp: Stamp,
    /// When the row vanishes, in Unix milliseconds. A put that is applied after its expiry is a
    /// stamped delete. Required on `Once` tables.
    pub expires_at_ms: Option<i64>,
}

/// The removal of one row of a `Stamped` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StampedDelete {
    /// The table.
    pub table: &'static Table,
    /// The full key.
    pub key: Key,
    /// The stamp: puts with a smaller or equal one stay invisible.
    pub stamp: Stamp,
}

/// One write of [`crate::Store::apply`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Write a row.
    Put(StampedPut),
    /// Delete a row.
    Delete(StampedDelete),
}

impl Mutation {
    /// The table written to.
    pub fn table(&self) -> &'static Table {
        match self {
            Self::Put(put) => put.table,
            Self::Delete(delete) => delete.table,
        }
    }

    /// The row's key.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put(put) => &put.key,
            Self::Delete(delete) => &delete.key,
        }
    }
}
