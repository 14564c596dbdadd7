//! `room_topology`: the timeline by depth, for history; points into `room_events`.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, Row, StoreError, Table, Value};

use super::Columns;

/// Partition `(room_id, depth_bucket)`, clustering `(depth, position)`.
pub(crate) static ROOM_TOPOLOGY: Table = Table {
    name: "room_topology",
    kind: Kind::Stamped,
    partition: &[Column::text("room_id"), Column::bigint("depth_bucket")],
    clustering: &[Column::bigint("depth"), Column::bigint("position")],
    statics: &[],
    values: &[Column::bigint("bucket")],
};

/// A row of [`ROOM_TOPOLOGY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TopologyRow {
    pub(crate) depth: i64,
    pub(crate) position: Position,
    /// The arrival bucket that holds the body.
    pub(crate) bucket: i64,
}

impl TopologyRow {
    pub(crate) fn partition(room_id: &str, depth_bucket: i64) -> Vec<Value> {
        vec![room_id.into(), depth_bucket.into()]
    }

    pub(crate) fn key(&self, room_id: &str, depth_bucket: i64) -> Key {
        let clustering = vec![self.depth.into(), self.position.packed().into()];
        Key::new(Self::partition(room_id, depth_bucket), clustering)
    }

    pub(crate) fn read(row: &Row) -> Result<Self, StoreError> {
        let mut key = Columns::of(&ROOM_TOPOLOGY, &row.clustering);
        let depth = key.bigint()?;
        let position = Position::from_packed(key.bigint()?);
        let bucket = Columns::of(&ROOM_TOPOLOGY, &row.values).bigint()?;
        Ok(Self {
            depth,
            position,
            bucket,
        })
    }
}
