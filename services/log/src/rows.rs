//! The rows that entries write.

use hanse_proto::log::Entry;
use hanse_store::{Key, Mutation, Stamp, StampedDelete, StampedPut, Table, Value};

use crate::Position;

/// Turns entries into rows. Implemented by the domain crates; deterministic: rows depend on the
/// entry, its position and the stamps alone, so that replay writes the same bytes.
pub trait Applier: Send + Sync + 'static {
    /// Adds the rows of one entry, always in the same order.
    fn rows(&self, entry: &Entry, position: Position, rows: &mut Rows);

    /// The tables that `rows` writes.
    fn tables(&self) -> Vec<&'static Table>;
}

/// Collects the rows of a batch and gives each a stamp of its own out of the batch's range.
#[derive(Debug)]
pub struct Rows {
    next_stamp: Stamp,
    mutations: Vec<Mutation>,
}

impl Rows {
    /// Rows of a batch whose stamps start here.
    pub fn starting_at(stamp_start: Stamp) -> Self {
        Self {
            next_stamp: stamp_start,
            mutations: Vec::new(),
        }
    }

    /// Writes a row; `values` has one value for each of the table's value columns.
    pub fn put(&mut self, table: &'static Table, key: Key, values: Vec<Value>) {
        self.push(table, key, values, None);
    }

    /// Writes a row that vanishes at `expires_at_ms` (Unix milliseconds).
    pub fn put_until(
        &mut self,
        table: &'static Table,
        key: Key,
        values: Vec<Value>,
        expires_at_ms: i64,
    ) {
        self.push(table, key, values, Some(expires_at_ms));
    }

    /// Deletes a row.
    pub fn delete(&mut self, table: &'static Table, key: Key) {
        let stamp = self.stamp();
        self.mutations
            .push(Mutation::Delete(StampedDelete { table, key, stamp }));
    }

    /// The last stamp of the batch: one beyond the last that a row uses, for its row in `heads`.
    pub(crate) fn stamp_end(&self) -> Stamp {
        self.next_stamp
    }

    pub(crate) fn into_mutations(self) -> Vec<Mutation> {
        self.mutations
    }

    fn push(
        &mut self,
        table: &'static Table,
        key: Key,
        values: Vec<Value>,
        expires_at_ms: Option<i64>,
    ) {
        let stamp = self.stamp();
        let put = StampedPut {
            table,
            key,
            values,
            stamp,
            expires_at_ms,
        };
        self.mutations.push(Mutation::Put(put));
    }

    fn stamp(&mut self) -> Stamp {
        let stamp = self.next_stamp;
        self.next_stamp += 1;
        stamp
    }
}
