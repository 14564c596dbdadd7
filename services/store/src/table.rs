//! Table descriptors: each table is described once, as a `static`, and both engines read it.

/// How a table is written. The kinds never mix on one table (law 5 of the design).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Written only by applying a slot's log; every write carries a stamp and binds all columns. Of
    /// two writes to one row the greater stamp wins; at equal stamps a delete wins.
    Stamped,
    /// Conditional writes only, deletes included, never a stamp.
    Cas,
    /// Written once with an expiry, never changed.
    Once,
}

/// The type of a column, by its CQL name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// 64-bit signed integer.
    BigInt,
    /// True or false.
    Boolean,
    /// UTF-8 text.
    Text,
    /// Bytes.
    Blob,
}

/// A named, typed column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Column {
    /// Its CQL name: lower case, no reserved word, never used again for something else (law 11).
    pub name: &'static str,
    /// Its type.
    pub kind: ColumnType,
}

impl Column {
    /// A `bigint` column.
    pub const fn bigint(name: &'static str) -> Self {
        Self {
            name,
            kind: ColumnType::BigInt,
        }
    }

    /// A `boolean` column.
    pub const fn boolean(name: &'static str) -> Self {
        Self {
            name,
            kind: ColumnType::Boolean,
        }
    }

    /// A `text` column.
    pub const fn text(name: &'static str) -> Self {
        Self {
            name,
            kind: ColumnType::Text,
        }
    }

    /// A `blob` column.
    pub const fn blob(name: &'static str) -> Self {
        Self {
            name,
            kind: ColumnType::Blob,
        }
    }
}

/// A table: its name, its kind, and its columns in order.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Table {
    /// CQL name.
    pub name: &'static str,
    /// How it is written.
    pub kind: Kind,
    /// Partition key columns, at least one.
    pub partition: &'static [Column],
    /// Clustering columns, ascending; may be empty.
    pub clustering: &'static [Column],
    /// Static columns: one value for each partition. Only `Cas` tables have them.
    pub statics: &'static [Column],
    /// The remaining columns.
    pub values: &'static [Column],
}

impl Table {
    /// Largest encoded key (partition and clustering columns together), in bytes.
    pub const KEY_BYTES_MAX: usize = 8 * 1024;
    /// Largest row (all value columns together), in bytes.
    pub const ROW_BYTES_MAX: usize = 1024 * 1024;

    /// The position of a value column.
    pub fn value_index(&self, name: &str) -> Option<usize> {
        self.values.iter().position(|column| column.name == name)
    }

    /// The position of a static column.
    pub fn static_index(&self, name: &str) -> Option<usize> {
        self.statics.iter().position(|column| column.name == name)
    }
}
