//! `forgotten_rooms`: rooms that a user left and wants to hear nothing of.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, StoreError, Table, Value};
use ruma::OwnedRoomId;

use crate::archive::{Cells, StoredRow};

pub(crate) static FORGOTTEN_ROOMS: Table = Table {
    name: "forgotten_rooms",
    kind: Kind::Stamped,
    partition: &[Column::text("user_id")],
    clustering: &[Column::text("room_id")],
    statics: &[],
    values: &[
        // Of the leave, in the room's slot.
        Column::bigint("left_position"),
        Column::bigint("position"),
    ],
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ForgottenRoomRow {
    pub(crate) room_id: OwnedRoomId,
    pub(crate) left_position: Position,
    pub(crate) position: Position,
}

pub(crate) fn key(user_id: &str, room_id: &str) -> Key {
    Key::new([user_id.into()], [room_id.into()])
}

pub(crate) fn values(left_position: i64, position: Position) -> Vec<Value> {
    vec![left_position.into(), position.packed().into()]
}

impl StoredRow for ForgottenRoomRow {
    fn table() -> &'static Table {
        &FORGOTTEN_ROOMS
    }

    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            room_id: cells.id("room_id")?,
            left_position: cells.position("left_position")?,
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
        fn reads_back(room in "[A-Za-z0-9]{1,18}", left_position: i64, position: i64) {
            let room_id: OwnedRoomId = format!("!{room}:b").try_into().unwrap();
            let position = Position::from_packed(position);
            let columns = values(left_position, position);
            let key = key("@a:b", room_id.as_str());
            let left_position = Position::from_packed(left_position);
            let row = ForgottenRoomRow { room_id, left_position, position };
            prop_assert_eq!(read_back::<ForgottenRoomRow>(&key, columns), row);
        }
    }
}
