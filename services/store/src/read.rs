//! Keys, rows, and what a read asks for.

use crate::{Table, Value};

/// A row's key: the partition columns' values, then the clustering columns'.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// One value for each partition column.
    pub partition: Vec<Value>,
    /// One value for each clustering column.
    pub clustering: Vec<Value>,
}

impl Key {
    /// A key of a table without clustering columns, or of a partition.
    pub fn partition(partition: impl Into<Vec<Value>>) -> Self {
        Self {
            partition: partition.into(),
            clustering: Vec::new(),
        }
    }

    /// A full key.
    pub fn new(partition: impl Into<Vec<Value>>, clustering: impl Into<Vec<Value>>) -> Self {
        Self {
            partition: partition.into(),
            clustering: clustering.into(),
        }
    }
}

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Consistency {
    /// `LOCAL_QUORUM`: sees every acknowledged plain write.
    Quorum,
    /// `LOCAL_SERIAL`: also finishes conditional writes that are under way. `Cas` tables only.
    Serial,
}

/// A row as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The clustering columns' values; empty for a row that holds only statics.
    pub clustering: Vec<Value>,
    /// The static columns' values, in the table's order; empty where the table has none.
    pub statics: Vec<Value>,
    /// The value columns' values, in the table's order.
    pub values: Vec<Value>,
}

/// The order in which a scan returns rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Ascending by clustering columns.
    Forward,
    /// Descending.
    Backward,
}

/// Bounds on the clustering columns: each is a prefix of them, compared as a tuple on as many
/// columns as it has. Empty: unbounded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Range {
    /// Rows must be `>=` this prefix (or `>` with `from_exclusive`).
    pub from: Vec<Value>,
    /// Leave out rows that start with `from`.
    pub from_exclusive: bool,
    /// Rows must be `<=` this prefix (or `<` with `to_exclusive`).
    pub to: Vec<Value>,
    /// Leave out rows that start with `to`.
    pub to_exclusive: bool,
}

impl Range {
    /// The whole partition.
    pub fn all() -> Self {
        Self::default()
    }

    /// Rows whose clustering columns start with this prefix.
    pub fn prefix(prefix: impl Into<Vec<Value>>) -> Self {
        let prefix = prefix.into();
        Self {
            from: prefix.clone(),
            to: prefix,
            ..Self::default()
        }
    }

    /// Rows at or after the prefix.
    pub fn at_least(from: impl Into<Vec<Value>>) -> Self {
        Self {
            from: from.into(),
            ..Self::default()
        }
    }

    /// Rows after every row that starts with the prefix.
    pub fn after(from: impl Into<Vec<Value>>) -> Self {
        Self {
            from: from.into(),
            from_exclusive: true,
            ..Self::default()
        }
    }

    /// Rows at or before the prefix.
    pub fn at_most(to: impl Into<Vec<Value>>) -> Self {
        Self {
            to: to.into(),
            ..Self::default()
        }
    }

    /// Rows before every row that starts with the prefix.
    pub fn before(to: impl Into<Vec<Value>>) -> Self {
        Self {
            to: to.into(),
            to_exclusive: true,
            ..Self::default()
        }
    }

    /// The same range with an upper bound, inclusive.
    #[must_use]
    pub fn up_to(mut self, to: impl Into<Vec<Value>>) -> Self {
        self.to = to.into();
        self.to_exclusive = false;
        self
    }
}

/// A read of a range of one partition, in pages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scan {
    /// The table.
    pub table: &'static Table,
    /// One value for each partition column.
    pub partition: Vec<Value>,
    /// Which rows.
    pub range: Range,
    /// In which order.
    pub direction: Direction,
    /// At most so many rows; 1 to [`Scan::LIMIT_MAX`]. A page may hold fewer and still have `more`.
    pub limit: usize,
}

impl Scan {
    /// Most rows of one page.
    pub const LIMIT_MAX: usize = 10_000;
}

/// A page of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The rows, in the scan's direction.
    pub rows: Vec<Row>,
    /// Whether there may be rows beyond: scan again with [`Range::after`] (or `before`) the last row.
    pub more: bool,
}
