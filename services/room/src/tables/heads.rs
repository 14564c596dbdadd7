//! `room_heads`: the newest end of each room.

use hanse_log::Position;
use hanse_proto::room::RoomHead;
use hanse_store::{Column, Key, Kind, Row, StoreError, Table, Value};
use prost::Message;

use super::{Columns, corrupt};

/// Partition `room_id`.
pub(crate) static ROOM_HEADS: Table = Table {
    name: "room_heads",
    kind: Kind::Stamped,
    partition: &[Column::text("room_id")],
    clustering: &[],
    statics: &[],
    values: &[
        // The packed position of the newest event.
        Column::bigint("position"),
        // A `hanse.room.v1.RoomHead`.
        Column::blob("head"),
    ],
};

/// A row of [`ROOM_HEADS`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HeadRow {
    pub(crate) position: Position,
    pub(crate) head: RoomHead,
}

impl HeadRow {
    pub(crate) fn key(room_id: &str) -> Key {
        Key::partition(vec![room_id.into()])
    }

    pub(crate) fn values(position: Position, head: &RoomHead) -> Vec<Value> {
        vec![position.packed().into(), head.encode_to_vec().into()]
    }

    pub(crate) fn read(row: &Row) -> Result<Self, StoreError> {
        let mut columns = Columns::of(&ROOM_HEADS, &row.values);
        let position = Position::from_packed(columns.bigint()?);
        let head = RoomHead::decode(columns.blob()?).map_err(|e| corrupt(&ROOM_HEADS, e))?;
        Ok(Self { position, head })
    }
}
