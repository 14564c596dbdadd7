//! `room_buckets`: which buckets a room's timeline has, in either order. Buckets are listed, never
//! computed: depth is the peer's word.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, Row, StoreError, Table, Value};

use super::{BY_ID, Columns};
use crate::EVENTS_PER_BUCKET;

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

/// The arrival bucket of a backfilled event: those of negative positions are numbered downwards, the
/// first one below [`BY_ID`].
pub(crate) fn bucket_of_backfilled(position: Position) -> i64 {
    BY_ID - 1 - (-position.packed() - 1) / EVENTS_PER_BUCKET
}

/// The lowest position that belongs to an arrival bucket, if it is one of backfilled events: these
/// do not come in the order of their positions.
pub(crate) fn lowest_position_of(bucket: i64) -> Option<Position> {
    let buckets = BY_ID - bucket;
    (buckets > 0).then(|| Position::from_packed(-buckets * EVENTS_PER_BUCKET))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red if a bucket says that it begins after one of its events: whoever reads backwards stops.
    #[test]
    fn buckets_of_backfilled_events_hold_their_positions() {
        for packed in [-1, -511, -512, -513, -1_024, -1_025] {
            let position = Position::from_packed(packed);
            let bucket = bucket_of_backfilled(position);
            let lowest = lowest_position_of(bucket).unwrap();
            assert!(lowest <= position && lowest.packed() > packed - EVENTS_PER_BUCKET);
            assert_eq!(bucket_of_backfilled(lowest), bucket);
            assert!(bucket < BY_ID);
        }
        assert_eq!(lowest_position_of(BY_ID), None);
        assert_eq!(lowest_position_of(0), None);
    }
}
