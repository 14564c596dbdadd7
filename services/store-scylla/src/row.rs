//! Rows on their way from the server.

use bytes::Bytes;
use hanse_store::{Column, StoreError, Table, Value};
use scylla::{
    cluster::metadata::{ColumnType, NativeType},
    deserialize::{
        DeserializationError, FrameSlice, TypeCheckError,
        row::{ColumnIterator, DeserializeRow},
        value::DeserializeValue,
    },
    frame::response::result::ColumnSpec,
    response::query_result::QueryRowsResult,
};

/// A row of any columns, in the order asked for. `None`: a type that no table has.
struct Values(Vec<Option<Value>>);

impl<'frame, 'metadata> DeserializeRow<'frame, 'metadata> for Values {
    fn type_check(_specs: &[ColumnSpec]) -> Result<(), TypeCheckError> {
        Ok(())
    }

    fn deserialize(row: ColumnIterator<'frame, 'metadata>) -> Result<Self, DeserializationError> {
        row.map(|column| {
            let column = column?;
            read(column.spec.typ(), column.slice)
        })
        .collect::<Result<_, _>>()
        .map(Self)
    }
}

/// A row with the names of its columns.
pub(crate) type Named = Vec<(String, Option<Value>)>;

/// Reads one value by the type that the server gives. Blobs share the response's memory.
fn read<'metadata>(
    kind: &'metadata ColumnType<'metadata>,
    slice: Option<FrameSlice<'_>>,
) -> Result<Option<Value>, DeserializationError> {
    if slice.is_none() {
        return Ok(Some(Value::Null));
    }
    let ColumnType::Native(native) = kind else {
        return Ok(None);
    };
    Ok(match native {
        NativeType::BigInt => Some(Value::BigInt(i64::deserialize(kind, slice)?)),
        NativeType::Boolean => Some(Value::Boolean(bool::deserialize(kind, slice)?)),
        NativeType::Text => Some(Value::Text(String::deserialize(kind, slice)?)),
        NativeType::Blob => Some(Value::Blob(Bytes::deserialize(kind, slice)?)),
        _ => None,
    })
}

/// The rows of an answer, each with its values in the order asked for.
pub(crate) fn values(
    table: &'static Table,
    columns: &[&'static Column],
    result: &QueryRowsResult,
) -> Result<Vec<Vec<Value>>, StoreError> {
    let rows = result
        .rows::<Values>()
        .map_err(|error| corrupt(table, &error))?;
    rows.map(|row| {
        let Values(values) = row.map_err(|error| corrupt(table, &error))?;
        checked(table, columns, values)
    })
    .collect()
}

/// The rows of an answer whose columns are not known beforehand, by name.
pub(crate) fn named(
    table: &'static Table,
    result: &QueryRowsResult,
) -> Result<Vec<Named>, StoreError> {
    let rows = result
        .rows::<Values>()
        .map_err(|error| corrupt(table, &error))?;
    let specs = result.column_specs();
    let names = || specs.iter().map(|spec| spec.name().to_owned());
    rows.map(|row| match row {
        Ok(Values(values)) => Ok(names().zip(values).collect()),
        Err(error) => Err(corrupt(table, &error)),
    })
    .collect()
}

fn checked(
    table: &'static Table,
    columns: &[&'static Column],
    values: Vec<Option<Value>>,
) -> Result<Vec<Value>, StoreError> {
    let fits = |(value, column): (Option<Value>, &&'static Column)| {
        value
            .filter(|value| value.fits(column.kind))
            .ok_or_else(|| StoreError::Corrupt {
                table: table.name,
                reason: format!("column {} has another type", column.name),
            })
    };
    values.into_iter().zip(columns).map(fits).collect()
}

fn corrupt(table: &'static Table, error: &dyn std::error::Error) -> StoreError {
    StoreError::Corrupt {
        table: table.name,
        reason: error.to_string(),
    }
}
