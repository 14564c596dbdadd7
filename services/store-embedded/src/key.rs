//! Keys as bytes: encoded keys sort as the tuples of values do.
//!
//! A key is the table's id (2 bytes), the partition columns, on `Cas` tables a section byte (statics
//! before rows), and the clustering columns. Integers are big-endian with the sign flipped. Text and
//! blobs have each `00` escaped as `00 ff` and end with `00 00`, so that no encoded value is a prefix
//! of another, and "rows that start with this tuple" is "keys that start with these bytes".

use hanse_store::{Column, ColumnType, Kind, Table, Value};

/// Persistent number of a table, given out by the catalog.
pub(crate) type TableId = u16;

const SECTION_STATICS: u8 = 0;
const SECTION_ROWS: u8 = 1;

/// The bytes before a partition's columns: all that a table's keys share.
pub(crate) fn partition_prefix(id: TableId, partition: &[Value]) -> Vec<u8> {
    let bytes: usize = partition.iter().map(|value| value.bytes() + 4).sum();
    let mut key = Vec::with_capacity(bytes + 32);
    key.extend_from_slice(&id.to_be_bytes());
    push_tuple(&mut key, partition);
    key
}

/// The key of a partition's statics.
pub(crate) fn statics_key(id: TableId, partition: &[Value]) -> Vec<u8> {
    let mut key = partition_prefix(id, partition);
    key.push(SECTION_STATICS);
    key
}

/// The bytes that the keys of all rows of a partition start with.
pub(crate) fn rows_prefix(table: &Table, id: TableId, partition: &[Value]) -> Vec<u8> {
    let mut key = partition_prefix(id, partition);
    if table.kind == Kind::Cas {
        key.push(SECTION_ROWS);
    }
    key
}

/// The key of a row.
pub(crate) fn row_key(
    table: &Table,
    id: TableId,
    partition: &[Value],
    clustering: &[Value],
) -> Vec<u8> {
    let mut key = rows_prefix(table, id, partition);
    push_tuple(&mut key, clustering);
    key
}

/// Appends the values of key columns.
pub(crate) fn push_tuple(key: &mut Vec<u8>, values: &[Value]) {
    for value in values {
        push_value(key, value);
    }
}

fn push_value(key: &mut Vec<u8>, value: &Value) {
    match value {
        // Never in a checked key.
        Value::Null => {}
        Value::BigInt(value) => key.extend_from_slice(&flip(*value).to_be_bytes()),
        Value::Boolean(value) => key.push(u8::from(*value)),
        Value::Text(value) => push_escaped(key, value.as_bytes()),
        Value::Blob(value) => push_escaped(key, value),
    }
}

/// Moves the sign bit so that unsigned order is signed order; its own inverse.
fn flip(value: i64) -> u64 {
    value as u64 ^ (1 << 63)
}

fn push_escaped(key: &mut Vec<u8>, bytes: &[u8]) {
    for (at, part) in bytes.split(|byte| *byte == 0).enumerate() {
        if at > 0 {
            key.extend_from_slice(&[0, 0xff]);
        }
        key.extend_from_slice(part);
    }
    key.extend_from_slice(&[0, 0]);
}

/// Reads the values of key columns back; `None` if the bytes are none of ours.
pub(crate) fn read_tuple(columns: &[Column], mut bytes: &[u8]) -> Option<Vec<Value>> {
    let mut values = Vec::with_capacity(columns.len());
    for column in columns {
        values.push(read_value(column.kind, &mut bytes)?);
    }
    bytes.is_empty().then_some(values)
}

fn read_value(kind: ColumnType, bytes: &mut &[u8]) -> Option<Value> {
    Some(match kind {
        ColumnType::BigInt => {
            let (head, rest) = bytes.split_first_chunk::<8>()?;
            *bytes = rest;
            Value::BigInt((u64::from_be_bytes(*head) ^ (1 << 63)) as i64)
        }
        ColumnType::Boolean => {
            let (head, rest) = bytes.split_first()?;
            *bytes = rest;
            Value::Boolean(*head != 0)
        }
        ColumnType::Text => Value::Text(String::from_utf8(read_escaped(bytes)?).ok()?),
        ColumnType::Blob => Value::Blob(read_escaped(bytes)?.into()),
    })
}

fn read_escaped(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let mut value = Vec::new();
    loop {
        let zero = bytes.iter().position(|byte| *byte == 0)?;
        let (part, rest) = bytes.split_at_checked(zero)?;
        let (mark, rest) = rest.split_first_chunk::<2>()?;
        value.extend_from_slice(part);
        *bytes = rest;
        if mark[1] == 0 {
            return Some(value);
        }
        value.push(0);
    }
}

/// The smallest key after all keys that start with the prefix, in place.
pub(crate) fn after_prefix(mut prefix: Vec<u8>) -> Vec<u8> {
    while let Some(last) = prefix.pop() {
        if last < 0xff {
            prefix.push(last + 1);
            return prefix;
        }
    }
    // Only ff bytes: there is no key of ours behind. (Table ids never get there.)
    vec![0xff; 3]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::text("a"),
        Column::bigint("b"),
        Column::blob("c"),
        Column::boolean("d"),
    ];

    prop_compose! {
        fn tuple()(
            // Few letters, so that equal prefixes and NULs are common.
            a in "[\u{0}\u{1}a-c\u{ff}]{0,4}",
            b in prop_oneof![any::<i64>(), -2i64..3],
            c in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0xff), any::<u8>()], 0..4),
            d in any::<bool>(),
        ) -> Vec<Value> {
            vec![a.into(), b.into(), c.into(), d.into()]
        }
    }

    fn encoded(values: &[Value]) -> Vec<u8> {
        let mut key = Vec::new();
        push_tuple(&mut key, values);
        key
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        // Sabotage: leave out `flip`, or end text with one zero byte.
        #[test]
        fn encoded_order_is_tuple_order(left in tuple(), right in tuple()) {
            prop_assert_eq!(left.cmp(&right), encoded(&left).cmp(&encoded(&right)));
        }

        #[test]
        fn tuples_read_back(values in tuple()) {
            prop_assert_eq!(read_tuple(&COLUMNS, &encoded(&values)), Some(values));
        }

        #[test]
        fn a_prefix_of_columns_is_a_prefix_of_bytes(
            left in tuple(), right in tuple(), columns in 1usize..4,
        ) {
            let prefix = encoded(&right[..columns]);
            let key = encoded(&left);
            let starts = left[..columns] == right[..columns];
            prop_assert_eq!(starts, key.starts_with(&prefix));
            let behind = left[..columns] > right[..columns];
            prop_assert_eq!(behind, key >= after_prefix(prefix));
        }

        #[test]
        fn noise_does_not_panic(noise in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = read_tuple(&COLUMNS, &noise);
        }
    }
}
