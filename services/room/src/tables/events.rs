//! `room_events`: the timeline in order of arrival, with the events' bodies.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, Row, StoreError, Table, Value};

use super::Columns;

/// Partition `(room_id, bucket)`, clustering `position`.
pub(crate) static ROOM_EVENTS: Table = Table {
    name: "room_events",
    kind: Kind::Stamped,
    partition: &[Column::text("room_id"), Column::bigint("bucket")],
    clustering: &[Column::bigint("position")],
    statics: &[],
    values: &[
        Column::text("event_id"),
        // The PDU; once redacted, the pruned one, which names the redaction in `unsigned`.
        Column::text("json"),
        Column::bigint("depth"),
        // The state event that this one replaced.
        Column::text("previous_event_id"),
        // The client's transaction, for `unsigned.transaction_id` on the sending device.
        Column::text("device_id"),
        Column::text("txn_id"),
    ],
};

/// A row of [`ROOM_EVENTS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EventRow {
    pub(crate) position: Position,
    pub(crate) event_id: String,
    pub(crate) json: String,
    pub(crate) depth: i64,
    pub(crate) previous_event_id: Option<String>,
    /// Device and transaction id.
    pub(crate) transaction: Option<(String, String)>,
}

impl EventRow {
    pub(crate) fn partition(room_id: &str, bucket: i64) -> Vec<Value> {
        vec![room_id.into(), bucket.into()]
    }

    pub(crate) fn key(room_id: &str, bucket: i64, position: Position) -> Key {
        Key::new(
            Self::partition(room_id, bucket),
            vec![position.packed().into()],
        )
    }

    pub(crate) fn values(self) -> Vec<Value> {
        let (device_id, txn_id) = self.transaction.unzip();
        vec![
            self.event_id.into(),
            self.json.into(),
            self.depth.into(),
            self.previous_event_id.into(),
            device_id.into(),
            txn_id.into(),
        ]
    }

    pub(crate) fn read(row: &Row) -> Result<Self, StoreError> {
        let position = Columns::of(&ROOM_EVENTS, &row.clustering).bigint()?;
        let mut columns = Columns::of(&ROOM_EVENTS, &row.values);
        let event_id = columns.text()?;
        let json = columns.text()?;
        let depth = columns.bigint()?;
        let previous_event_id = columns.text_or_null()?;
        let device_id = columns.text_or_null()?;
        let txn_id = columns.text_or_null()?;
        Ok(Self {
            position: Position::from_packed(position),
            event_id,
            json,
            depth,
            previous_event_id,
            transaction: device_id.zip(txn_id),
        })
    }
}
