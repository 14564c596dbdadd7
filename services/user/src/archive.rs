//! Typed reads of the archives, and writes of rows that live only for a while.

use std::{fmt::Display, sync::Arc};

use hanse_log::Position;
use hanse_store::{
    Column, Consistency, Direction, Durability, Key, Mutation, Range, Row, Scan, StampedPut, Store,
    StoreError, Table, Value,
};

use crate::TokenHash;

/// Rows read at once.
const PAGE_ROWS: usize = 1_000;

/// A row of one table, decoded.
pub(crate) trait StoredRow: Sized {
    /// Its table.
    fn table() -> &'static Table;

    /// Reads the columns back; [`StoreError::Corrupt`] if they are not what was written.
    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError>;

    /// Decodes a row of the table.
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let table = Self::table();
        Self::decode(&Cells { table, row })
    }
}

/// The columns of a row, by name.
pub(crate) struct Cells<'a> {
    table: &'static Table,
    row: &'a Row,
}

impl Cells<'_> {
    pub(crate) fn text(&self, name: &str) -> Result<String, StoreError> {
        self.typed(name, |value| value.as_str().map(str::to_owned))
    }

    /// A text that is an identifier.
    pub(crate) fn id<T>(&self, name: &str) -> Result<T, StoreError>
    where
        T: TryFrom<String>,
        T::Error: Display,
    {
        T::try_from(self.text(name)?).map_err(|error| self.corrupt(name, &error))
    }

    pub(crate) fn bigint(&self, name: &str) -> Result<i64, StoreError> {
        self.typed(name, Value::as_i64)
    }

    pub(crate) fn boolean(&self, name: &str) -> Result<bool, StoreError> {
        self.typed(name, Value::as_bool)
    }

    pub(crate) fn position(&self, name: &str) -> Result<Position, StoreError> {
        self.bigint(name).map(Position::from_packed)
    }

    /// A token's hash, or null.
    pub(crate) fn hash(&self, name: &str) -> Result<Option<TokenHash>, StoreError> {
        match self.value(name) {
            Some(Value::Null) => Ok(None),
            _ => self.typed(name, |value| {
                value
                    .as_bytes()
                    .and_then(|bytes| TokenHash::from_bytes(bytes))
                    .map(Some)
            }),
        }
    }

    pub(crate) fn corrupt(&self, name: &str, reason: &dyn Display) -> StoreError {
        StoreError::Corrupt {
            table: self.table.name,
            reason: format!("column {name}: {reason}"),
        }
    }

    fn typed<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<T, StoreError> {
        let value = self.value(name).and_then(read);
        value.ok_or_else(|| self.corrupt(name, &"missing, or of another type"))
    }

    fn value(&self, name: &str) -> Option<&Value> {
        let at = |columns: &[Column]| columns.iter().position(|column| column.name == name);
        match at(self.table.values) {
            Some(at) => self.row.values.get(at),
            None => self.row.clustering.get(at(self.table.clustering)?),
        }
    }
}

/// The archives.
#[derive(Clone)]
pub(crate) struct Archive {
    store: Arc<dyn Store>,
}

impl Archive {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// One row by its full key.
    pub(crate) async fn get<R: StoredRow>(&self, key: Key) -> Result<Option<R>, StoreError> {
        let row = self
            .store
            .get(R::table(), &key, Consistency::Quorum)
            .await?;
        row.map(|row| R::from_row(&row)).transpose()
    }

    /// Rows of a range in ascending order, at most `rows_max`.
    pub(crate) async fn range<R: StoredRow>(
        &self,
        partition: impl Into<Vec<Value>>,
        range: Range,
        rows_max: usize,
    ) -> Result<Vec<R>, StoreError> {
        let mut scan = Scan {
            table: R::table(),
            partition: partition.into(),
            range,
            direction: Direction::Forward,
            limit: rows_max.clamp(1, PAGE_ROWS),
        };
        let mut rows = Vec::new();
        loop {
            let page = self.store.scan(scan.clone()).await?;
            for row in page.rows.iter().take(rows_max.saturating_sub(rows.len())) {
                rows.push(R::from_row(row)?);
            }
            let last = page.rows.last().map(|row| row.clustering.clone());
            let Some(last) = last.filter(|_| page.more && rows.len() < rows_max) else {
                return Ok(rows);
            };
            scan.range.from = last;
            scan.range.from_exclusive = true;
        }
    }

    /// Writes a row of a `Once` table, durably.
    pub(crate) async fn put_once(
        &self,
        table: &'static Table,
        key: Key,
        values: Vec<Value>,
        expires_at_ms: i64,
    ) -> Result<(), StoreError> {
        let put = StampedPut {
            table,
            key,
            values,
            stamp: 0,
            expires_at_ms: Some(expires_at_ms),
        };
        self.store
            .apply(vec![Mutation::Put(put)], Durability::Synced)
            .await
    }
}
