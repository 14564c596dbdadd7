//! Looking at every stored row, for tests that compare stores and tools that measure them.

use fjall::Readable;
use hanse_store::{StoreError, Table};

use crate::{
    EmbeddedStore, disk, key,
    row::{self, State},
};

impl EmbeddedStore {
    /// Shows each stored row of a table, in key order, as bytes: its key without the table's
    /// number, and what is stored under it, stamp and expiry included. Deleted and expired rows are
    /// shown as long as they are kept. The time of a deletion is shown as 0: it is this store's own,
    /// for the purge, and not part of what was written.
    ///
    /// Reads the whole table: not for serving.
    pub fn each_stored_row(
        &self,
        table: &'static Table,
        mut show: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), StoreError> {
        let prefix = key::partition_prefix(self.core.table_id(table)?, &[]);
        let range = prefix.clone()..key::after_prefix(prefix.clone());
        let snapshot = self.core.db.snapshot();
        for pair in snapshot.range(self.core.keyspace(table.kind), range) {
            let (key, bytes) = pair
                .into_inner()
                .map_err(|error| disk::read_failed(&error))?;
            let shown = shown(table, &bytes)?;
            show(
                key.get(prefix.len()..).unwrap_or_default(),
                shown.as_deref().unwrap_or(&bytes),
            );
        }
        Ok(())
    }
}

/// What is shown instead of the stored bytes, if not they themselves.
fn shown(table: &'static Table, bytes: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    let mut header = row::decode_header(table, bytes)?;
    if !header.is_tombstone() {
        return Ok(None);
    }
    header.state = State::Tombstone(0);
    Ok(Some(row::encode(header, &[])))
}
