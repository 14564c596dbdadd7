//! `room_relations`: which events relate to an event.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, Row, StoreError, Table, Value};

use super::Columns;

/// Partition `(room_id, target_id)`, clustering `position` of the relating event.
pub(crate) static ROOM_RELATIONS: Table = Table {
    name: "room_relations",
    kind: Kind::Stamped,
    partition: &[Column::text("room_id"), Column::text("target_id")],
    clustering: &[Column::bigint("position")],
    statics: &[],
    values: &[
        Column::text("rel_type"),
        Column::bigint("bucket"),
        Column::bigint("depth"),
    ],
};

/// A row of [`ROOM_RELATIONS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RelationRow {
    pub(crate) position: Position,
    pub(crate) rel_type: String,
    pub(crate) bucket: i64,
    pub(crate) depth: i64,
}

impl RelationRow {
    pub(crate) fn partition(room_id: &str, target_id: &str) -> Vec<Value> {
        vec![room_id.into(), target_id.into()]
    }

    pub(crate) fn key(&self, room_id: &str, target_id: &str) -> Key {
        Key::new(
            Self::partition(room_id, target_id),
            vec![self.position.packed().into()],
        )
    }

    pub(crate) fn values(self) -> Vec<Value> {
        vec![self.rel_type.into(), self.bucket.into(), self.depth.into()]
    }

    pub(crate) fn read(row: &Row) -> Result<Self, StoreError> {
        let position = Columns::of(&ROOM_RELATIONS, &row.clustering).bigint()?;
        let mut columns = Columns::of(&ROOM_RELATIONS, &row.values);
        Ok(Self {
            position: Position::from_packed(position),
            rel_type: columns.text()?,
            bucket: columns.bigint()?,
            depth: columns.bigint()?,
        })
    }
}
