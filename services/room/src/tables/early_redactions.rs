//! `room_early_redactions`: redactions that came before the event that they redact.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, Row, StoreError, Table, Value};

use super::Columns;

/// Partition `(room_id, target_id)`, clustering `position` of the redaction in the timeline. Rows stay
/// when the target has come: it comes once.
pub(crate) static ROOM_EARLY_REDACTIONS: Table = Table {
    name: "room_early_redactions",
    kind: Kind::Stamped,
    partition: &[Column::text("room_id"), Column::text("target_id")],
    clustering: &[Column::bigint("position")],
    statics: &[],
    // The arrival bucket of the redaction.
    values: &[Column::bigint("bucket")],
};

/// A row of [`ROOM_EARLY_REDACTIONS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EarlyRedactionRow {
    pub(crate) position: Position,
    pub(crate) bucket: i64,
}

impl EarlyRedactionRow {
    pub(crate) fn partition(room_id: &str, target_id: &str) -> Vec<Value> {
        vec![room_id.into(), target_id.into()]
    }

    pub(crate) fn key(self, room_id: &str, target_id: &str) -> Key {
        let clustering = vec![self.position.packed().into()];
        Key::new(Self::partition(room_id, target_id), clustering)
    }

    pub(crate) fn values(self) -> Vec<Value> {
        vec![self.bucket.into()]
    }

    pub(crate) fn read(row: &Row) -> Result<Self, StoreError> {
        let position = Columns::of(&ROOM_EARLY_REDACTIONS, &row.clustering).bigint()?;
        Ok(Self {
            position: Position::from_packed(position),
            bucket: Columns::of(&ROOM_EARLY_REDACTIONS, &row.values).bigint()?,
        })
    }
}
