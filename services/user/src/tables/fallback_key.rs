//! `fallback_keys`: what is handed out where no one-time key is left, again and again.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, StoreError, Table, Value};

use crate::archive::{Cells, StoredRow};

pub(crate) static FALLBACK_KEYS: Table = Table {
    name: "fallback_keys",
    kind: Kind::Stamped,
    partition: &[Column::text("user_id")],
    clustering: &[Column::text("device_id"), Column::text("algorithm")],
    statics: &[],
    values: &[
        Column::text("key_id"),
        Column::text("json"),
        Column::boolean("used"),
        Column::bigint("position"),
    ],
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FallbackKeyRow {
    pub(crate) algorithm: String,
    pub(crate) key_id: String,
    pub(crate) json: String,
    /// Whether it was handed out since it was uploaded.
    pub(crate) used: bool,
    pub(crate) position: Position,
}

pub(crate) fn key(user_id: &str, device_id: &str, algorithm: &str) -> Key {
    Key::new([user_id.into()], [device_id.into(), algorithm.into()])
}

pub(crate) fn values(key_id: &str, json: &str, used: bool, position: Position) -> Vec<Value> {
    vec![
        key_id.into(),
        json.into(),
        used.into(),
        position.packed().into(),
    ]
}

impl StoredRow for FallbackKeyRow {
    fn table() -> &'static Table {
        &FALLBACK_KEYS
    }

    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            algorithm: cells.text("algorithm")?,
            key_id: cells.text("key_id")?,
            json: cells.text("json")?,
            used: cells.boolean("used")?,
            position: cells.position("position")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tables::read_back;

    proptest! {
        #[test]
        fn reads_back(
            algorithm in ".*", key_id in ".*", json in ".*", used: bool, position: i64,
        ) {
            let position = Position::from_packed(position);
            let columns = values(&key_id, &json, used, position);
            let key = key("@a:b", "D", &algorithm);
            let row = FallbackKeyRow { algorithm, key_id, json, used, position };
            prop_assert_eq!(read_back::<FallbackKeyRow>(&key, columns), row);
        }
    }
}
