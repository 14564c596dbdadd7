//! Values on their way to the server.

use hanse_store::Value;
use scylla::{
    cluster::metadata::ColumnType,
    serialize::{
        SerializationError,
        value::SerializeValue,
        writers::{CellWriter, WrittenCellProof},
    },
};

/// A value of a statement, borrowed: batches of the log are not copied once more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Param<'a> {
    /// A column's value.
    Value(&'a Value),
    /// A stamp.
    BigInt(i64),
    /// A limit or a TTL.
    Int(i32),
    /// The smallest text.
    EmptyText,
    /// The smallest blob.
    EmptyBlob,
    /// The smaller boolean.
    False,
}

impl<'a> From<&'a Value> for Param<'a> {
    fn from(value: &'a Value) -> Self {
        Self::Value(value)
    }
}

impl SerializeValue for Param<'_> {
    fn serialize<'b>(
        &self,
        kind: &ColumnType,
        writer: CellWriter<'b>,
    ) -> Result<WrittenCellProof<'b>, SerializationError> {
        match self {
            Self::Value(Value::Null) => Ok(writer.set_null()),
            Self::Value(Value::BigInt(value)) | Self::BigInt(value) => {
                value.serialize(kind, writer)
            }
            Self::Value(Value::Boolean(value)) => value.serialize(kind, writer),
            Self::Value(Value::Text(value)) => value.serialize(kind, writer),
            Self::Value(Value::Blob(value)) => value.as_ref().serialize(kind, writer),
            Self::Int(value) => value.serialize(kind, writer),
            Self::EmptyText => "".serialize(kind, writer),
            Self::EmptyBlob => [0_u8; 0].as_slice().serialize(kind, writer),
            Self::False => false.serialize(kind, writer),
        }
    }
}

/// A statement and what it is called with.
#[derive(Debug, PartialEq)]
pub(crate) struct Call<'a> {
    pub(crate) text: String,
    pub(crate) params: Vec<Param<'a>>,
}
