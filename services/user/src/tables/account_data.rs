//! `account_data`: the newest value of each type, of the whole account and of each room.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, StoreError, Table, Value};

use crate::archive::{Cells, StoredRow};

pub(crate) static ACCOUNT_DATA: Table = Table {
    name: "account_data",
    kind: Kind::Stamped,
    partition: &[Column::text("user_id")],
    // `room_id` is empty for the whole account.
    clustering: &[Column::text("room_id"), Column::text("data_type")],
    statics: &[],
    values: &[
        // A JSON object.
        Column::text("content"),
        Column::bigint("position"),
    ],
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AccountDataRow {
    pub(crate) room_id: String,
    pub(crate) data_type: String,
    pub(crate) content: String,
    pub(crate) position: Position,
}

pub(crate) fn key(user_id: &str, room_id: &str, data_type: &str) -> Key {
    Key::new([user_id.into()], [room_id.into(), data_type.into()])
}

pub(crate) fn values(content: &str, position: Position) -> Vec<Value> {
    vec![content.into(), position.packed().into()]
}

impl StoredRow for AccountDataRow {
    fn table() -> &'static Table {
        &ACCOUNT_DATA
    }

    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            room_id: cells.text("room_id")?,
            data_type: cells.text("data_type")?,
            content: cells.text("content")?,
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
        fn reads_back(room_id in ".*", data_type in ".*", content in ".*", position: i64) {
            let position = Position::from_packed(position);
            let columns = values(&content, position);
            let key = key("@a:b", &room_id, &data_type);
            let row = AccountDataRow { room_id, data_type, content, position };
            prop_assert_eq!(read_back::<AccountDataRow>(&key, columns), row);
        }
    }
}
