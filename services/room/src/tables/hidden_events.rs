//! `hidden_events`: the bodies of events that are known and not shown: soft-failed and rejected ones.

use hanse_store::{Column, Key, Kind, Row, StoreError, Table, Value};

use super::Columns;

/// Partition `event_id`. The row belongs to the event's room's slot.
pub(crate) static HIDDEN_EVENTS: Table = Table {
    name: "hidden_events",
    kind: Kind::Stamped,
    partition: &[Column::text("event_id")],
    clustering: &[],
    statics: &[],
    values: &[
        // The PDU.
        Column::text("json"),
        // Why it is not shown; for people.
        Column::text("reason"),
    ],
};

/// A row of [`HIDDEN_EVENTS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HiddenEventRow {
    pub(crate) json: String,
    pub(crate) reason: String,
}

impl HiddenEventRow {
    pub(crate) fn key(event_id: &str) -> Key {
        Key::partition(vec![event_id.into()])
    }

    pub(crate) fn values(self) -> Vec<Value> {
        vec![self.json.into(), self.reason.into()]
    }

    pub(crate) fn read(row: &Row) -> Result<Self, StoreError> {
        let mut columns = Columns::of(&HIDDEN_EVENTS, &row.values);
        Ok(Self {
            json: columns.text()?,
            reason: columns.text()?,
        })
    }
}
