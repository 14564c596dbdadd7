//! The tables: what an engine would have on its disks, in ordered maps.

use std::{cmp::Ordering, collections::BTreeMap};

use hanse_store::{
    Consistency, Direction, Key, Kind, Mutation, Page, Range, Row, Scan, Stamp, StampedPut,
    StoreError, Table, Value,
};

use crate::Partition;

/// Every table of a store.
#[derive(Clone, Debug, Default)]
pub struct Data {
    tables: BTreeMap<&'static str, TableData>,
}

#[derive(Clone, Debug)]
struct TableData {
    table: &'static Table,
    partitions: BTreeMap<Vec<Value>, Partition>,
}

/// A stored row. `Cas` rows have neither stamp nor expiry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// `None` on tables without stamps.
    pub stamp: Option<Stamp>,
    /// When it expires, in Unix milliseconds.
    pub expires_at_ms: Option<i64>,
    /// `None`: deleted.
    pub values: Option<Vec<Value>>,
}

impl Cell {
    /// What a write leaves, if it wins.
    pub fn of(mutation: &Mutation, now_ms: i64) -> Self {
        match mutation {
            Mutation::Put(put) if put.expires_at_ms.is_none_or(|at_ms| at_ms > now_ms) => {
                Self::live(put)
            }
            Mutation::Put(put) => Self::deleted(put.stamp),
            Mutation::Delete(delete) => Self::deleted(delete.stamp),
        }
    }

    fn live(put: &StampedPut) -> Self {
        Self {
            stamp: (put.table.kind == Kind::Stamped).then_some(put.stamp),
            expires_at_ms: put.expires_at_ms,
            values: Some(put.values.clone()),
        }
    }

    fn deleted(stamp: Stamp) -> Self {
        Self {
            stamp: Some(stamp),
            expires_at_ms: None,
            values: None,
        }
    }

    /// Whether this write changes what is stored: the greater stamp wins, a delete at equal stamps.
    fn wins(&self, over: Option<&Self>, kind: Kind) -> bool {
        let Some(over) = over else {
            return kind != Kind::Once || self.values.is_some();
        };
        if kind == Kind::Once {
            return self.values.is_some();
        }
        let deletes = self.values.is_none() && over.values.is_some();
        self.stamp > over.stamp || self.stamp == over.stamp && deletes
    }

    fn visible(&self, now_ms: i64) -> Option<&Vec<Value>> {
        let live = self.expires_at_ms.is_none_or(|at_ms| at_ms > now_ms);
        self.values.as_ref().filter(|_| live)
    }
}

impl Data {
    /// Creates the tables that do not exist yet.
    pub fn create_tables(&mut self, tables: &[&'static Table]) -> Result<(), StoreError> {
        for table in tables {
            table.check()?;
            let created = || TableData {
                table,
                partitions: BTreeMap::new(),
            };
            let known = self.tables.entry(table.name).or_insert_with(created);
            if known.table != *table {
                return Err(table.misuse("it exists, with another description"));
            }
        }
        Ok(())
    }

    /// A partition, made if need be.
    pub fn partition(
        &mut self,
        table: &'static Table,
        key: &[Value],
    ) -> Result<&mut Partition, StoreError> {
        let data = self.tables.get_mut(table.name);
        let data = data.ok_or_else(|| table.misuse("it was not created"))?;
        if !data.partitions.contains_key(key) {
            data.partitions.insert(key.to_vec(), Partition::default());
        }
        let made = data.partitions.get_mut(key);
        made.ok_or_else(|| table.misuse("its partition is gone"))
    }

    fn existing(
        &self,
        table: &'static Table,
        key: &[Value],
    ) -> Result<Option<&Partition>, StoreError> {
        let data = self.tables.get(table.name);
        let data = data.ok_or_else(|| table.misuse("it was not created"))?;
        Ok(data.partitions.get(key))
    }

    /// A row as it is stored, deleted ones too.
    pub fn cell(&self, table: &'static Table, key: &Key) -> Option<&Cell> {
        let partition = self.existing(table, &key.partition).ok()??;
        partition.rows.get(&key.clustering)
    }

    /// Every stored row of a table, in order.
    pub fn cells(&self, table: &'static Table) -> impl Iterator<Item = (Key, &Cell)> {
        let data = self.tables.get(table.name);
        let partitions = data.into_iter().flat_map(|data| &data.partitions);
        partitions.flat_map(|(key, partition)| {
            let rows = partition.rows.iter();
            rows.map(|(clustering, cell)| (Key::new(key.clone(), clustering.clone()), cell))
        })
    }

    /// The rows of tables of this kind become those of another store.
    pub fn replace_kind(&mut self, kind: Kind, from: &Self) {
        self.tables.retain(|_, data| data.table.kind != kind);
        let of_kind = from
            .tables
            .iter()
            .filter(|(_, data)| data.table.kind == kind);
        self.tables
            .extend(of_kind.map(|(name, data)| (*name, data.clone())));
    }

    /// Writes a row, if the write wins.
    pub fn apply(&mut self, mutation: &Mutation, now_ms: i64) -> Result<(), StoreError> {
        let (table, key) = (mutation.table(), mutation.key());
        let partition = self.partition(table, &key.partition)?;
        let cell = Cell::of(mutation, now_ms);
        if cell.wins(partition.rows.get(&key.clustering), table.kind) {
            partition.rows.insert(key.clustering.clone(), cell);
        }
        Ok(())
    }

    /// A row that is visible at a time.
    pub fn get(
        &mut self,
        table: &'static Table,
        key: &Key,
        consistency: Consistency,
        now_ms: i64,
    ) -> Result<Option<Row>, StoreError> {
        if consistency == Consistency::Serial {
            self.partition(table, &key.partition)?.commit(table);
        }
        let Some(partition) = self.existing(table, &key.partition)? else {
            return Ok(None);
        };
        if table.asks_for_statics(key) {
            return Ok(partition.statics.clone().map(|statics| Row {
                clustering: Vec::new(),
                statics,
                values: vec![Value::Null; table.values.len()],
            }));
        }
        let cell = partition.rows.get(&key.clustering);
        let values = cell.and_then(|cell| cell.visible(now_ms));
        Ok(values.map(|values| partition.row(table, &key.clustering, values)))
    }

    /// A page of the rows that are visible at a time.
    pub fn scan(&self, scan: &Scan, now_ms: i64) -> Result<Page, StoreError> {
        let mut page = Page {
            rows: Vec::new(),
            more: false,
        };
        let Some(partition) = self.existing(scan.table, &scan.partition)? else {
            return Ok(page);
        };
        let range = &scan.range;
        let from = partition.rows.range(range.from.clone()..);
        let found = from
            .take_while(|(clustering, _)| within_prefix(&range.to, clustering).is_le())
            .filter(|(clustering, _)| within(range, clustering));
        let visible = |(clustering, cell): (&Vec<Value>, &Cell)| {
            let values = cell.visible(now_ms)?;
            Some(partition.row(scan.table, clustering, values))
        };
        let mut found: Vec<_> = found.collect();
        if scan.direction == Direction::Backward {
            found.reverse();
        }
        let rows = found.into_iter().filter_map(visible);
        page.rows = rows.take(scan.limit + 1).collect();
        page.more = page.rows.len() > scan.limit;
        page.rows.truncate(scan.limit);
        Ok(page)
    }
}

/// Each bound is a prefix, compared on as many columns as it has.
fn within(range: &Range, clustering: &[Value]) -> bool {
    let (from, to) = (
        within_prefix(&range.from, clustering),
        within_prefix(&range.to, clustering),
    );
    from.is_ge()
        && to.is_le()
        && !(range.from_exclusive && from.is_eq())
        && !(range.to_exclusive && to.is_eq())
}

fn within_prefix(bound: &[Value], clustering: &[Value]) -> Ordering {
    clustering
        .get(..bound.len())
        .unwrap_or(clustering)
        .cmp(bound)
}
