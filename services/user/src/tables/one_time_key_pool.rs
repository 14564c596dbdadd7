//! `one_time_key_pools`: how many one-time keys of each algorithm a device has left, and where the
//! oldest is: whoever looks for it need not pass over those that are gone.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, StoreError, Table, Value};

use crate::archive::{Cells, StoredRow};

pub(crate) static ONE_TIME_KEY_POOLS: Table = Table {
    name: "one_time_key_pools",
    kind: Kind::Stamped,
    partition: &[Column::text("user_id")],
    clustering: &[Column::text("device_id"), Column::text("algorithm")],
    statics: &[],
    values: &[
        // Named so because COUNT is a function in CQL.
        Column::bigint("keys_left"),
        Column::bigint("first_position"),
        Column::bigint("position"),
    ],
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PoolRow {
    pub(crate) algorithm: String,
    pub(crate) count: i64,
    /// The upload that the oldest key came with, or an earlier one.
    pub(crate) first_position: Position,
    pub(crate) position: Position,
}

pub(crate) fn key(user_id: &str, device_id: &str, algorithm: &str) -> Key {
    Key::new([user_id.into()], [device_id.into(), algorithm.into()])
}

pub(crate) fn values(count: i64, first_position: Position, position: Position) -> Vec<Value> {
    vec![
        count.into(),
        first_position.packed().into(),
        position.packed().into(),
    ]
}

impl StoredRow for PoolRow {
    fn table() -> &'static Table {
        &ONE_TIME_KEY_POOLS
    }

    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            algorithm: cells.text("algorithm")?,
            count: cells.bigint("keys_left")?,
            first_position: cells.position("first_position")?,
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
        fn reads_back(algorithm in ".*", count: i64, first: i64, position: i64) {
            let (first_position, position) =
                (Position::from_packed(first), Position::from_packed(position));
            let columns = values(count, first_position, position);
            let key = key("@a:b", "D", &algorithm);
            let row = PoolRow { algorithm, count, first_position, position };
            prop_assert_eq!(read_back::<PoolRow>(&key, columns), row);
        }
    }
}
