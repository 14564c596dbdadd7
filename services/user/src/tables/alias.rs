//! `aliases`: where each alias of ours points.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, StoreError, Table, Value};
use ruma::{OwnedRoomId, OwnedUserId};

use crate::archive::{Cells, StoredRow};

pub(crate) static ALIASES: Table = Table {
    name: "aliases",
    kind: Kind::Stamped,
    partition: &[Column::text("alias")],
    clustering: &[],
    statics: &[],
    values: &[
        Column::text("room_id"),
        Column::text("creator"),
        Column::bigint("position"),
    ],
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AliasRow {
    pub(crate) room_id: OwnedRoomId,
    pub(crate) creator: OwnedUserId,
    pub(crate) position: Position,
}

pub(crate) fn key(alias: &str) -> Key {
    Key::partition([alias.into()])
}

pub(crate) fn values(room_id: &str, creator: &str, position: Position) -> Vec<Value> {
    vec![room_id.into(), creator.into(), position.packed().into()]
}

impl StoredRow for AliasRow {
    fn table() -> &'static Table {
        &ALIASES
    }

    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            room_id: cells.id("room_id")?,
            creator: cells.id("creator")?,
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
            alias in ".*", room in "[A-Za-z0-9]{1,18}", user in "[a-z]{1,9}", position: i64,
        ) {
            let position = Position::from_packed(position);
            let row = AliasRow {
                room_id: format!("!{room}:b").try_into().unwrap(),
                creator: format!("@{user}:b").try_into().unwrap(),
                position,
            };
            let columns = values(row.room_id.as_str(), row.creator.as_str(), position);
            prop_assert_eq!(read_back::<AliasRow>(&key(&alias), columns), row);
        }
    }
}
