//! The archives of rooms: one file for each table, with its descriptor and its typed row.
//!
//! All are of kind `Stamped` and written by [`crate::room_rows`] alone, but for `staged_events`.

mod buckets;
mod device_changes;
mod directory;
mod early_redactions;
mod event_ids;
mod event_states;
mod events;
mod gaps;
mod heads;
mod hidden_events;
mod installations;
mod receipts;
mod relations;
mod shelves;
mod staged_events;
mod state;
mod state_nodes;
mod topology;
mod transactions;
mod user_rooms;

use hanse_store::{StoreError, Table, Value};

pub use self::transactions::TransactionKey;
pub(crate) use self::{
    buckets::{BucketKind, BucketRow, ROOM_BUCKETS, bucket_of_backfilled, lowest_position_of},
    device_changes::{
        DEVICE_CHANGE_POSITIONS, DeviceChangeRow, ROOM_DEVICE_CHANGES, last_change,
        last_change_key, rows as device_change_rows,
    },
    directory::{PUBLISHED_ROOMS, PublishedRow, ROOM_ALIASES, RoomAliasRow},
    early_redactions::{EarlyRedactionRow, ROOM_EARLY_REDACTIONS},
    event_ids::{EVENTS, EventIdRow},
    event_states::{EventStateRow, ROOM_EVENT_STATES},
    events::{EventRow, ROOM_EVENTS},
    gaps::{GapRow, MissingEventRow, ROOM_GAPS, ROOM_MISSING_EVENTS},
    heads::{HeadRow, ROOM_HEADS},
    hidden_events::{HIDDEN_EVENTS, HiddenEventRow},
    installations::{InstallationRow, ROOM_INSTALLATIONS},
    receipts::{ROOM_RECEIPTS, ReceiptRow},
    relations::{ROOM_RELATIONS, RelationRow},
    shelves::{is_shelf, shelf, shelf_of},
    staged_events::{STAGED_EVENTS, StagedRow, part_of},
    state::{
        BY_ID, ChangeRow, MEMBER_SHARDS, ROOM_STATE, ROOM_STATE_CHANGES, ROOM_STATE_VERSIONS,
        StateRow, shard_of,
    },
    state_nodes::{NodeName, ROOM_STATE_NODES, StateNodeRow},
    topology::{ROOM_TOPOLOGY, TopologyRow},
    transactions::ROOM_TRANSACTIONS,
    user_rooms::{USER_ROOMS, UserRoomRow},
};

/// Every table of this crate.
pub fn tables() -> Vec<&'static Table> {
    vec![
        &DEVICE_CHANGE_POSITIONS,
        &EVENTS,
        &HIDDEN_EVENTS,
        &PUBLISHED_ROOMS,
        &ROOM_ALIASES,
        &ROOM_BUCKETS,
        &ROOM_DEVICE_CHANGES,
        &ROOM_EARLY_REDACTIONS,
        &ROOM_EVENTS,
        &ROOM_EVENT_STATES,
        &ROOM_GAPS,
        &ROOM_HEADS,
        &ROOM_INSTALLATIONS,
        &ROOM_MISSING_EVENTS,
        &ROOM_RECEIPTS,
        &ROOM_RELATIONS,
        &ROOM_STATE,
        &ROOM_STATE_CHANGES,
        &ROOM_STATE_NODES,
        &ROOM_STATE_VERSIONS,
        &ROOM_TOPOLOGY,
        &ROOM_TRANSACTIONS,
        &STAGED_EVENTS,
        &USER_ROOMS,
    ]
}

/// Reads typed columns out of a row, in order.
pub(crate) struct Columns<'a> {
    table: &'static Table,
    values: std::slice::Iter<'a, Value>,
}

impl<'a> Columns<'a> {
    pub(crate) fn of(table: &'static Table, values: &'a [Value]) -> Self {
        Self {
            table,
            values: values.iter(),
        }
    }

    pub(crate) fn text(&mut self) -> Result<String, StoreError> {
        self.text_or_null()?.ok_or_else(|| self.wrong("text"))
    }

    pub(crate) fn text_or_null(&mut self) -> Result<Option<String>, StoreError> {
        match self.values.next() {
            Some(Value::Text(text)) => Ok(Some(text.clone())),
            Some(Value::Null) => Ok(None),
            _ => Err(self.wrong("text or null")),
        }
    }

    pub(crate) fn bigint(&mut self) -> Result<i64, StoreError> {
        self.values
            .next()
            .and_then(Value::as_i64)
            .ok_or_else(|| self.wrong("bigint"))
    }

    pub(crate) fn bigint_or_null(&mut self) -> Result<Option<i64>, StoreError> {
        match self.values.next() {
            Some(Value::BigInt(number)) => Ok(Some(*number)),
            Some(Value::Null) => Ok(None),
            _ => Err(self.wrong("bigint or null")),
        }
    }

    pub(crate) fn blob(&mut self) -> Result<bytes::Bytes, StoreError> {
        self.values
            .next()
            .and_then(Value::as_bytes)
            .cloned()
            .ok_or_else(|| self.wrong("blob"))
    }

    fn wrong(&self, expected: &str) -> StoreError {
        corrupt(self.table, format!("expected {expected}"))
    }
}

/// A row that does not read back.
#[expect(
    clippy::needless_pass_by_value,
    reason = "taken as `map_err` hands it over"
)]
pub(crate) fn corrupt(table: &'static Table, reason: impl ToString) -> StoreError {
    StoreError::Corrupt {
        table: table.name,
        reason: reason.to_string(),
    }
}
