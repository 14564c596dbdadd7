//! `room_receipts`: how far each user has read, by type and thread; the unthreaded receipt
//! survives the threaded ones, and each has its position in the feed.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, Row, StoreError, Table, Value};

use super::Columns;

/// Partition `room_id`, clustering `(user_id, receipt_type, thread_id)`.
pub(crate) static ROOM_RECEIPTS: Table = Table {
    name: "room_receipts",
    kind: Kind::Stamped,
    partition: &[Column::text("room_id")],
    clustering: &[
        Column::text("user_id"),
        Column::text("receipt_type"),
        Column::text("thread_id"),
    ],
    statics: &[],
    values: &[
        Column::bigint("position"),
        Column::text("event_id"),
        Column::bigint("ts_ms"),
        Column::bigint("event_position"),
    ],
};

/// A row of [`ROOM_RECEIPTS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReceiptRow {
    pub(crate) user_id: String,
    pub(crate) receipt_type: String,
    /// Empty: unthreaded.
    pub(crate) thread_id: String,
    /// The receipt's own position.
    pub(crate) position: Position,
    pub(crate) event_id: String,
    pub(crate) ts_ms: i64,
    /// The position of the event that was read.
    pub(crate) event_position: Position,
}

impl ReceiptRow {
    pub(crate) fn key(&self, room_id: &str) -> Key {
        let clustering = vec![
            self.user_id.as_str().into(),
            self.receipt_type.as_str().into(),
            self.thread_id.as_str().into(),
        ];
        Key::new(vec![room_id.into()], clustering)
    }

    pub(crate) fn values(self) -> Vec<Value> {
        vec![
            self.position.packed().into(),
            self.event_id.into(),
            self.ts_ms.into(),
            self.event_position.packed().into(),
        ]
    }

    pub(crate) fn read(row: &Row) -> Result<Self, StoreError> {
        let mut key = Columns::of(&ROOM_RECEIPTS, &row.clustering);
        let mut columns = Columns::of(&ROOM_RECEIPTS, &row.values);
        Ok(Self {
            user_id: key.text()?,
            receipt_type: key.text()?,
            thread_id: key.text()?,
            position: Position::from_packed(columns.bigint()?),
            event_id: columns.text()?,
            ts_ms: columns.bigint()?,
            event_position: Position::from_packed(columns.bigint()?),
        })
    }
}
