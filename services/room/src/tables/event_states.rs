//! `room_event_states`: the state after an event, where it is not the room's current state as of the
//! event. By reference: a position of the linear history, and a chain of nodes on top.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, Row, StoreError, Table, Value};

use super::Columns;

/// Partition `event_id`. The row belongs to the event's room's slot. An accepted event that has no
/// row has the current state as of its own position.
pub(crate) static ROOM_EVENT_STATES: Table = Table {
    name: "room_event_states",
    kind: Kind::Stamped,
    partition: &[Column::text("event_id")],
    clustering: &[],
    statics: &[],
    values: &[
        Column::bigint("base_position"),
        // The topmost node, by the event that introduced it.
        Column::text("node"),
        // Where this event introduced that node: the node below.
        Column::text("parent"),
        // For state events: the event that held its key before it.
        Column::text("replaced"),
        // Where this event introduced that node, if its values do not stand under the event's id.
        Column::text("apart"),
    ],
};

/// A row of [`ROOM_EVENT_STATES`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EventStateRow {
    pub(crate) base: Position,
    pub(crate) node: Option<String>,
    pub(crate) parent: Option<String>,
    pub(crate) replaced: Option<String>,
    pub(crate) apart: Option<String>,
}

impl EventStateRow {
    pub(crate) fn key(event_id: &str) -> Key {
        Key::partition(vec![event_id.into()])
    }

    pub(crate) fn values(self) -> Vec<Value> {
        vec![
            self.base.packed().into(),
            self.node.into(),
            self.parent.into(),
            self.replaced.into(),
            self.apart.into(),
        ]
    }

    pub(crate) fn read(row: &Row) -> Result<Self, StoreError> {
        let mut columns = Columns::of(&ROOM_EVENT_STATES, &row.values);
        Ok(Self {
            base: Position::from_packed(columns.bigint()?),
            node: columns.text_or_null()?,
            parent: columns.text_or_null()?,
            replaced: columns.text_or_null()?,
            apart: columns.text_or_null()?,
        })
    }
}
