//! Where history is missing: by the event after the gap, and by the events that are missing. Both
//! say the same; a gap ends when its last row is gone.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, Row, StoreError, Table, Value};

use super::Columns;

/// Partition `room_id`, clustering `(depth, position)` of the event after the gap and the missing
/// event: what a reader of history looks for.
pub(crate) static ROOM_GAPS: Table = Table {
    name: "room_gaps",
    kind: Kind::Stamped,
    partition: &[Column::text("room_id")],
    clustering: &[
        Column::bigint("depth"),
        Column::bigint("position"),
        Column::text("missing_id"),
    ],
    statics: &[],
    // The event after the gap.
    values: &[Column::text("event_id")],
};

/// Partition `(room_id, missing_id)`, clustering `(depth, position)` of the event after the gap: what
/// ends when the missing event comes.
pub(crate) static ROOM_MISSING_EVENTS: Table = Table {
    name: "room_missing_events",
    kind: Kind::Stamped,
    partition: &[Column::text("room_id"), Column::text("missing_id")],
    clustering: &[Column::bigint("depth"), Column::bigint("position")],
    statics: &[],
    // The event after the gap.
    values: &[Column::text("event_id")],
};

/// A row of [`ROOM_GAPS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GapRow {
    pub(crate) depth: i64,
    pub(crate) position: Position,
    pub(crate) missing_id: String,
    pub(crate) event_id: String,
}

impl GapRow {
    pub(crate) fn partition(room_id: &str) -> Vec<Value> {
        vec![room_id.into()]
    }

    pub(crate) fn key(room_id: &str, (depth, position): (i64, Position), missing_id: &str) -> Key {
        let clustering = vec![depth.into(), position.packed().into(), missing_id.into()];
        Key::new(Self::partition(room_id), clustering)
    }

    pub(crate) fn values(event_id: &str) -> Vec<Value> {
        vec![event_id.into()]
    }

    pub(crate) fn read(row: &Row) -> Result<Self, StoreError> {
        let mut key = Columns::of(&ROOM_GAPS, &row.clustering);
        Ok(Self {
            depth: key.bigint()?,
            position: Position::from_packed(key.bigint()?),
            missing_id: key.text()?,
            event_id: Columns::of(&ROOM_GAPS, &row.values).text()?,
        })
    }
}

/// A row of [`ROOM_MISSING_EVENTS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MissingEventRow {
    pub(crate) depth: i64,
    pub(crate) position: Position,
    pub(crate) event_id: String,
}

impl MissingEventRow {
    pub(crate) fn partition(room_id: &str, missing_id: &str) -> Vec<Value> {
        vec![room_id.into(), missing_id.into()]
    }

    pub(crate) fn key(room_id: &str, (depth, position): (i64, Position), missing_id: &str) -> Key {
        let clustering = vec![depth.into(), position.packed().into()];
        Key::new(Self::partition(room_id, missing_id), clustering)
    }

    pub(crate) fn values(event_id: &str) -> Vec<Value> {
        vec![event_id.into()]
    }

    pub(crate) fn read(row: &Row) -> Result<Self, StoreError> {
        let mut key = Columns::of(&ROOM_MISSING_EVENTS, &row.clustering);
        Ok(Self {
            depth: key.bigint()?,
            position: Position::from_packed(key.bigint()?),
            event_id: Columns::of(&ROOM_MISSING_EVENTS, &row.values).text()?,
        })
    }
}
