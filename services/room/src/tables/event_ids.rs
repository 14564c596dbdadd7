//! `events`: where an event stands, by its id.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, Row, StoreError, Table, Value};

use super::{BY_ID, Columns};

/// Partition `event_id`. The row belongs to the event's room's slot.
pub(crate) static EVENTS: Table = Table {
    name: "events",
    kind: Kind::Stamped,
    partition: &[Column::text("event_id")],
    clustering: &[],
    statics: &[],
    values: &[
        Column::text("room_id"),
        Column::bigint("bucket"),
        Column::bigint("position"),
        // `hanse_proto::room::EventStatus`.
        Column::bigint("status"),
        // Where it arrived, if that is not `position`: outliers that found their place, backfill.
        Column::bigint("arrived"),
    ],
};

/// A row of [`EVENTS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EventIdRow {
    pub(crate) room_id: String,
    pub(crate) bucket: i64,
    pub(crate) position: Position,
    pub(crate) status: i32,
    pub(crate) arrived: Option<Position>,
}

impl EventIdRow {
    /// Whether the event was backfilled: then it has a place, though perhaps no state.
    pub(crate) fn is_backfilled(&self) -> bool {
        self.bucket < BY_ID
    }

    pub(crate) fn key(event_id: &str) -> Key {
        Key::partition(vec![event_id.into()])
    }

    pub(crate) fn values(self) -> Vec<Value> {
        vec![
            self.room_id.into(),
            self.bucket.into(),
            self.position.packed().into(),
            i64::from(self.status).into(),
            self.arrived.map(Position::packed).into(),
        ]
    }

    pub(crate) fn read(row: &Row) -> Result<Self, StoreError> {
        let mut columns = Columns::of(&EVENTS, &row.values);
        Ok(Self {
            room_id: columns.text()?,
            bucket: columns.bigint()?,
            position: Position::from_packed(columns.bigint()?),
            status: columns.bigint()? as i32,
            arrived: columns.bigint_or_null()?.map(Position::from_packed),
        })
    }
}
