//! Reads, on the callers' threads, each on one snapshot.

use fjall::{Readable, Snapshot};
use hanse_store::{Direction, Key, Kind, Page, Row, Scan, StoreError, Table, Value};

use crate::{
    disk,
    engine::Core,
    key::{self, TableId},
    row,
};

/// A page ends after this many bytes of rows, whatever its limit.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

impl Core {
    /// One row, or the statics of a partition alone.
    pub(crate) fn get(&self, table: &'static Table, key: &Key) -> Result<Option<Row>, StoreError> {
        let id = self.table_id(table)?;
        let snapshot = self.db.snapshot();
        let statics = self.statics(&snapshot, table, id, &key.partition)?;
        if table.asks_for_statics(key) {
            return Ok(statics.map(|statics| Row {
                clustering: Vec::new(),
                statics,
                values: vec![Value::Null; table.values.len()],
            }));
        }
        let at = key::row_key(table, id, &key.partition, &key.clustering);
        let stored = snapshot
            .get(self.keyspace(table.kind), at)
            .map_err(|error| disk::read_failed(&error))?;
        let Some(bytes) = stored else {
            return Ok(None);
        };
        let values = self.visible(table, &bytes)?;
        Ok(values.map(|values| Row {
            clustering: key.clustering.clone(),
            statics: statics.unwrap_or_else(|| no_statics(table)),
            values,
        }))
    }

    /// A page of a range of one partition.
    pub(crate) fn scan(&self, scan: &Scan) -> Result<Page, StoreError> {
        let table = scan.table;
        let id = self.table_id(table)?;
        let prefix = key::rows_prefix(table, id, &scan.partition);
        let (from, to) = bounds(scan, &prefix);
        let mut page = Page {
            rows: Vec::new(),
            more: false,
        };
        if from >= to {
            return Ok(page);
        }
        let snapshot = self.db.snapshot();
        let statics = self.statics(&snapshot, table, id, &scan.partition)?;
        let statics = statics.unwrap_or_else(|| no_statics(table));
        let mut pairs = snapshot.range(self.keyspace(table.kind), from..to);
        let mut next = || match scan.direction {
            Direction::Forward => pairs.next(),
            Direction::Backward => pairs.next_back(),
        };
        let mut bytes = 0;
        while let Some(pair) = next() {
            let (key, value) = pair
                .into_inner()
                .map_err(|error| disk::read_failed(&error))?;
            let Some(values) = self.visible(table, &value)? else {
                continue;
            };
            if page.rows.len() == scan.limit || bytes > PAGE_BYTES_MAX {
                page.more = true;
                break;
            }
            bytes += key.len() + value.len();
            page.rows.push(Row {
                clustering: clustering(table, prefix.len(), &key)?,
                statics: statics.clone(),
                values,
            });
        }
        Ok(page)
    }

    /// A partition's statics, if any is not null.
    fn statics(
        &self,
        snapshot: &Snapshot,
        table: &'static Table,
        id: TableId,
        partition: &[Value],
    ) -> Result<Option<Vec<Value>>, StoreError> {
        if table.statics.is_empty() {
            return Ok(None);
        }
        let stored = snapshot
            .get(&self.cas, key::statics_key(id, partition))
            .map_err(|error| disk::read_failed(&error))?;
        stored
            .map(|bytes| row::decode(table, table.statics.len(), &bytes).map(|(_, values)| values))
            .transpose()
    }

    /// The values of a stored row that is neither deleted nor expired.
    fn visible(&self, table: &Table, bytes: &[u8]) -> Result<Option<Vec<Value>>, StoreError> {
        if table.kind != Kind::Cas {
            let header = row::decode_header(table, bytes)?;
            if !header.is_visible(self.now_ms()) {
                return Ok(None);
            }
        }
        row::decode(table, table.values.len(), bytes).map(|(_, values)| Some(values))
    }
}

fn no_statics(table: &Table) -> Vec<Value> {
    vec![Value::Null; table.statics.len()]
}

/// The keys of a scan: from the first (inclusive) to the second (exclusive).
fn bounds(scan: &Scan, prefix: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let extended = |tuple: &[Value]| {
        let mut key = prefix.to_vec();
        key::push_tuple(&mut key, tuple);
        key
    };
    let mut from = extended(&scan.range.from);
    if scan.range.from_exclusive {
        from = key::after_prefix(from);
    }
    let mut to = extended(&scan.range.to);
    if !scan.range.to_exclusive {
        to = key::after_prefix(to);
    }
    (from, to)
}

fn clustering(table: &Table, prefix: usize, key: &[u8]) -> Result<Vec<Value>, StoreError> {
    key.get(prefix..)
        .and_then(|bytes| key::read_tuple(table.clustering, bytes))
        .ok_or_else(|| StoreError::Corrupt {
            table: table.name,
            reason: "a key does not read back".to_owned(),
        })
}
