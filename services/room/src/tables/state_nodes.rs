//! `room_state_nodes`: changes of state on top of another state, for events on forks.

use hanse_store::{Column, Key, Kind, Row, StoreError, Table, Value};

use super::Columns;

/// Partition `(room_id, node)`, a node having the id of the event that introduced it, and where that
/// event's row of `room_event_states` says so, a name behind it; clustering `(event_type,
/// state_key)`. What lies below it says that row, too.
pub(crate) static ROOM_STATE_NODES: Table = Table {
    name: "room_state_nodes",
    kind: Kind::Stamped,
    partition: &[Column::text("room_id"), Column::text("node")],
    clustering: &[Column::text("event_type"), Column::text("state_key")],
    statics: &[],
    // Null: the key has no value.
    values: &[Column::text("event_id")],
};

/// Where the values of a node stand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeName<'a> {
    /// The event that introduced it.
    pub(crate) event_id: &'a str,
    /// Set where they were written in entries of their own.
    pub(crate) apart: Option<&'a str>,
}

impl NodeName<'_> {
    fn text(&self) -> String {
        match self.apart {
            Some(apart) => format!("{} {apart}", self.event_id),
            None => self.event_id.to_owned(),
        }
    }
}

/// A row of [`ROOM_STATE_NODES`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StateNodeRow {
    pub(crate) event_type: String,
    pub(crate) state_key: String,
    pub(crate) event_id: Option<String>,
}

impl StateNodeRow {
    pub(crate) fn partition(room_id: &str, node: &NodeName<'_>) -> Vec<Value> {
        vec![room_id.into(), node.text().into()]
    }

    pub(crate) fn key(&self, room_id: &str, node: &NodeName<'_>) -> Key {
        let clustering = vec![
            self.event_type.as_str().into(),
            self.state_key.as_str().into(),
        ];
        Key::new(Self::partition(room_id, node), clustering)
    }

    pub(crate) fn values(self) -> Vec<Value> {
        vec![self.event_id.into()]
    }

    pub(crate) fn read(row: &Row) -> Result<Self, StoreError> {
        let mut key = Columns::of(&ROOM_STATE_NODES, &row.clustering);
        Ok(Self {
            event_type: key.text()?,
            state_key: key.text()?,
            event_id: Columns::of(&ROOM_STATE_NODES, &row.values).text_or_null()?,
        })
    }
}
