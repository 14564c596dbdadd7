//! The values of columns.

use bytes::Bytes;

use crate::ColumnType;

/// One column's value. `Null` stands for a column that holds nothing; it is never part of a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// No value. Allowed in value and static columns only.
    Null,
    /// CQL `bigint`.
    BigInt(i64),
    /// CQL `boolean`.
    Boolean(bool),
    /// CQL `text`, at most [`crate::Table::KEY_BYTES_MAX`] bytes in a key.
    Text(String),
    /// CQL `blob`.
    Blob(Bytes),
}

impl Value {
    /// Whether this value may stand in a column of the given type (`Null` may in any).
    pub fn fits(&self, column: ColumnType) -> bool {
        matches!(
            (self, column),
            (Self::Null, _)
                | (Self::BigInt(_), ColumnType::BigInt)
                | (Self::Boolean(_), ColumnType::Boolean)
                | (Self::Text(_), ColumnType::Text)
                | (Self::Blob(_), ColumnType::Blob)
        )
    }

    /// The bytes that this value counts towards the bounds of keys, rows and batches.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::BigInt(_) => 8,
            Self::Boolean(_) => 1,
            Self::Text(value) => value.len(),
            Self::Blob(value) => value.len(),
        }
    }

    /// The integer, if this is one.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::BigInt(value) => Some(*value),
            _ => None,
        }
    }

    /// The boolean, if this is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    /// The text, if this is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(value) => Some(value),
            _ => None,
        }
    }

    /// The bytes, if this is a blob.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Blob(value) => Some(value),
            _ => None,
        }
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::BigInt(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Bytes> for Value {
    fn from(value: Bytes) -> Self {
        Self::Blob(value)
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Blob(value.into())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
