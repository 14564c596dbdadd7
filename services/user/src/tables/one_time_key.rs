//! `one_time_keys`: the keys that others may claim, each once, in the order of their uploads; those
//! of one upload in the order of their ids.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, StoreError, Table, Value};

use crate::archive::{Cells, StoredRow};

pub(crate) static ONE_TIME_KEYS: Table = Table {
    name: "one_time_keys",
    kind: Kind::Stamped,
    partition: &[Column::text("user_id"), Column::text("device_id")],
    clustering: &[
        Column::text("algorithm"),
        Column::bigint("position"),
        Column::text("key_id"),
    ],
    statics: &[],
    values: &[Column::text("json")],
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OneTimeKeyRow {
    pub(crate) algorithm: String,
    /// Of the upload that it came with.
    pub(crate) position: Position,
    pub(crate) key_id: String,
    pub(crate) json: String,
}

pub(crate) fn partition(user_id: &str, device_id: &str) -> Vec<Value> {
    vec![user_id.into(), device_id.into()]
}

pub(crate) fn key(owner: (&str, &str), algorithm: &str, position: Position, key_id: &str) -> Key {
    let clustering: Vec<Value> = vec![algorithm.into(), position.packed().into(), key_id.into()];
    Key::new(partition(owner.0, owner.1), clustering)
}

pub(crate) fn values(json: &str) -> Vec<Value> {
    vec![json.into()]
}

impl StoredRow for OneTimeKeyRow {
    fn table() -> &'static Table {
        &ONE_TIME_KEYS
    }

    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            algorithm: cells.text("algorithm")?,
            position: cells.position("position")?,
            key_id: cells.text("key_id")?,
            json: cells.text("json")?,
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
        fn reads_back(algorithm in ".*", key_id in ".*", json in ".*", position: i64) {
            let position = Position::from_packed(position);
            let columns = values(&json);
            let key = key(("@a:b", "D"), &algorithm, position, &key_id);
            let row = OneTimeKeyRow { algorithm, position, key_id, json };
            prop_assert_eq!(read_back::<OneTimeKeyRow>(&key, columns), row);
        }
    }
}
