//! Rows as bytes.
//!
//! `version (1) | flags (1) | stamp (8, if stamped) | time (8, if flagged) | columns`. The time is the
//! expiry of a row that has one, and the time of deletion of a tombstone. Columns stand in the
//! table's order: a varint count, then for each a tag and its bytes. A reader that knows more columns
//! takes the missing ones for null, one that knows fewer skips the rest, so a table may grow columns
//! at its end.

use bytes::Bytes;
use hanse_store::{Stamp, StoreError, Table, Value};

const VERSION: u8 = 1;

const FLAG_TOMBSTONE: u8 = 1;
const FLAG_STAMP: u8 = 2;
const FLAG_TIME: u8 = 4;

const TAG_NULL: u8 = 0;
const TAG_BIGINT: u8 = 1;
const TAG_FALSE: u8 = 2;
const TAG_TRUE: u8 = 3;
const TAG_TEXT: u8 = 4;
const TAG_BLOB: u8 = 5;

/// What a stored row says about itself before its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Its stamp, on `Stamped` tables.
    pub(crate) stamp: Option<Stamp>,
    /// What it is.
    pub(crate) state: State,
}

/// Whether a stored row is a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// A row, for good.
    Live,
    /// A row until this time (Unix milliseconds).
    Expires(i64),
    /// Deleted at this time (Unix milliseconds).
    Tombstone(i64),
}

impl Header {
    /// Whether the row can be seen at this time.
    pub(crate) fn is_visible(&self, now_ms: i64) -> bool {
        match self.state {
            State::Live => true,
            State::Expires(at_ms) => now_ms < at_ms,
            State::Tombstone(_) => false,
        }
    }

    /// Whether the row is a tombstone.
    pub(crate) fn is_tombstone(&self) -> bool {
        matches!(self.state, State::Tombstone(_))
    }

    fn time(&self) -> Option<i64> {
        match self.state {
            State::Live => None,
            State::Expires(at_ms) | State::Tombstone(at_ms) => Some(at_ms),
        }
    }
}

/// Encodes a row.
pub(crate) fn encode(header: Header, values: &[Value]) -> Vec<u8> {
    let bytes: usize = values.iter().map(|value| value.bytes() + 4).sum();
    let mut out = Vec::with_capacity(bytes + 24);
    push_header(&mut out, header);
    push_varint(&mut out, values.len());
    for value in values {
        push_value(&mut out, value);
    }
    out
}

fn push_header(out: &mut Vec<u8>, header: Header) {
    let mut flags = 0;
    if header.is_tombstone() {
        flags |= FLAG_TOMBSTONE;
    }
    if header.stamp.is_some() {
        flags |= FLAG_STAMP;
    }
    if header.time().is_some() {
        flags |= FLAG_TIME;
    }
    out.extend_from_slice(&[VERSION, flags]);
    for number in [header.stamp, header.time()].into_iter().flatten() {
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn push_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.push(TAG_NULL),
        Value::BigInt(value) => {
            out.push(TAG_BIGINT);
            out.extend_from_slice(&value.to_be_bytes());
        }
        Value::Boolean(false) => out.push(TAG_FALSE),
        Value::Boolean(true) => out.push(TAG_TRUE),
        Value::Text(value) => push_bytes(out, TAG_TEXT, value.as_bytes()),
        Value::Blob(value) => push_bytes(out, TAG_BLOB, value),
    }
}

fn push_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    push_varint(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn push_varint(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Reads what stands before the columns.
pub(crate) fn decode_header(table: &Table, bytes: &[u8]) -> Result<Header, StoreError> {
    read_header(&mut &*bytes).ok_or_else(|| corrupt(table, bytes))
}

/// The header of a row of any table; `None` if the bytes are none of ours.
pub(crate) fn peek_header(bytes: &[u8]) -> Option<Header> {
    read_header(&mut &*bytes)
}

/// Reads a row: its header, and `columns` values.
pub(crate) fn decode(
    table: &Table,
    columns: usize,
    bytes: &[u8],
) -> Result<(Header, Vec<Value>), StoreError> {
    read_row(columns, bytes).ok_or_else(|| corrupt(table, bytes))
}

fn corrupt(table: &Table, bytes: &[u8]) -> StoreError {
    let reason = match bytes.first() {
        Some(&VERSION) => "its bytes do not read back".to_owned(),
        Some(version) => format!("written in version {version}, this process reads {VERSION}"),
        None => "it is empty".to_owned(),
    };
    StoreError::Corrupt {
        table: table.name,
        reason,
    }
}

fn read_row(columns: usize, mut bytes: &[u8]) -> Option<(Header, Vec<Value>)> {
    let header = read_header(&mut bytes)?;
    let stored = read_varint(&mut bytes)?;
    let mut values = Vec::with_capacity(columns);
    for _ in 0..stored.min(columns) {
        values.push(read_value(&mut bytes)?);
    }
    values.resize(columns, Value::Null);
    Some((header, values))
}

fn read_header(bytes: &mut &[u8]) -> Option<Header> {
    let (&[version, flags], rest) = bytes.split_first_chunk::<2>()?;
    *bytes = rest;
    if version != VERSION {
        return None;
    }
    let mut flagged = |flag| {
        (flags & flag != 0)
            .then(|| read_i64(bytes).ok_or(()))
            .transpose()
    };
    let stamp = flagged(FLAG_STAMP).ok()?;
    let time = flagged(FLAG_TIME).ok()?;
    let state = match (flags & FLAG_TOMBSTONE, time) {
        (0, None) => State::Live,
        (0, Some(at_ms)) => State::Expires(at_ms),
        (_, at_ms) => State::Tombstone(at_ms?),
    };
    Some(Header { stamp, state })
}

fn read_i64(bytes: &mut &[u8]) -> Option<i64> {
    let (head, rest) = bytes.split_first_chunk::<8>()?;
    *bytes = rest;
    Some(i64::from_be_bytes(*head))
}

fn read_value(bytes: &mut &[u8]) -> Option<Value> {
    let (tag, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(match *tag {
        TAG_NULL => Value::Null,
        TAG_BIGINT => Value::BigInt(read_i64(bytes)?),
        TAG_FALSE => Value::Boolean(false),
        TAG_TRUE => Value::Boolean(true),
        TAG_TEXT => Value::Text(str::from_utf8(read_bytes(bytes)?).ok()?.to_owned()),
        TAG_BLOB => Value::Blob(Bytes::copy_from_slice(read_bytes(bytes)?)),
        _ => return None,
    })
}

fn read_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = read_varint(bytes)?;
    let (head, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(head)
}

fn read_varint(bytes: &mut &[u8]) -> Option<usize> {
    let mut number = 0usize;
    for shift in (0..usize::BITS).step_by(7) {
        let (head, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= usize::from(head & 0x7f) << shift;
        if head & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            ".{0,200}".prop_map(Value::from),
            prop::collection::vec(any::<u8>(), 0..200).prop_map(Value::from),
        ]
    }

    fn header() -> impl Strategy<Value = Header> {
        let state = prop_oneof![
            Just(State::Live),
            any::<i64>().prop_map(State::Expires),
            any::<i64>().prop_map(State::Tombstone),
        ];
        (any::<Option<i64>>(), state).prop_map(|(stamp, state)| Header { stamp, state })
    }

    proptest! {
        #[test]
        fn rows_read_back(header in header(), values in prop::collection::vec(value(), 0..6)) {
            let bytes = encode(header, &values);
            prop_assert_eq!(read_row(values.len(), &bytes), Some((header, values)));
        }

        #[test]
        fn columns_may_be_added_and_taken_back(values in prop::collection::vec(value(), 2..6)) {
            let header = Header { stamp: None, state: State::Live };
            let bytes = encode(header, &values);
            let (_, fewer) = read_row(values.len() - 1, &bytes).unwrap();
            prop_assert_eq!(&fewer[..], &values[..values.len() - 1]);
            let (_, more) = read_row(values.len() + 1, &bytes).unwrap();
            prop_assert_eq!(more.last(), Some(&Value::Null));
        }

        #[test]
        fn noise_does_not_panic(noise in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = read_row(3, &noise);
        }
    }
}
