//! `account_data_feed`: which account data changed, by position. One row for each type: the row of
//! the value before is deleted with it, so the feed is no longer than the data.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, StoreError, Table, Value};

use crate::archive::{Cells, StoredRow};

pub(crate) static ACCOUNT_DATA_FEED: Table = Table {
    name: "account_data_feed",
    kind: Kind::Stamped,
    partition: &[Column::text("user_id")],
    clustering: &[Column::bigint("position")],
    statics: &[],
    values: &[Column::text("room_id"), Column::text("data_type")],
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AccountDataFeedRow {
    pub(crate) position: Position,
    pub(crate) room_id: String,
    pub(crate) data_type: String,
}

pub(crate) fn key(user_id: &str, position: Position) -> Key {
    Key::new([user_id.into()], [position.packed().into()])
}

pub(crate) fn values(room_id: &str, data_type: &str) -> Vec<Value> {
    vec![room_id.into(), data_type.into()]
}

impl StoredRow for AccountDataFeedRow {
    fn table() -> &'static Table {
        &ACCOUNT_DATA_FEED
    }

    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            position: cells.position("position")?,
            room_id: cells.text("room_id")?,
            data_type: cells.text("data_type")?,
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
        fn reads_back(room_id in ".*", data_type in ".*", position: i64) {
            let position = Position::from_packed(position);
            let columns = values(&room_id, &data_type);
            let key = key("@a:b", position);
            let row = AccountDataFeedRow { position, room_id, data_type };
            prop_assert_eq!(read_back::<AccountDataFeedRow>(&key, columns), row);
        }
    }
}
