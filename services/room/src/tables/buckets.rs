//! `room_buckets`: which buckets a room's timeline has, in either order. Buckets are listed, never
//! computed: depth is the peer's word.

use hanse_store::{Column, Key, Kind, Row, StoreError, Table, Value};

use super::Columns;

/// Partition `(room_id, kind)`, clustering `bucket`.
pub(crate) static ROOM_BUCKETS: Table = Table {
    name: "room_buckets",
    kind: Kind::Stamped,
    partition: &[Column::text("room_id"), Column::text("kind")],
    clustering: &[Column::bigint("bucket")],
    statics: &[],
    // The packed position of the event that opened it.
    values: &[Column::bigint("first_position")],
};

/// Which order a bucket belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BucketKind {
    /// By position: `room_events`.
    Arrival,
    /// By depth: `room_topology`.
    Depth,
}

/// A row of [`ROOM_BUCKETS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BucketRow {
    pub(crate) bucket: i64,
    pub(crate) first_position: i64,
}

impl BucketRow {
    pub(crate) fn partition(room_id: &str, kind: BucketKind) -> Vec<Value> {
        let kind = match kind {
            BucketKind::Arrival => "arrival",
            BucketKind::Depth => "depth",
        };
        vec![room_id.into(), kind.into()]
    }

    pub(crate) fn key(&self, room_id: &str, kind: BucketKind) -> Key {
        Key::new(Self::partition(room_id, kind), vec![self.bucket.into()])
    }

    pub(crate) fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            bucket: Columns::of(&ROOM_BUCKETS, &row.clustering).bigint()?,
            first_position: Columns::of(&ROOM_BUCKETS, &row.values).bigint()?,
        })
    }
}
