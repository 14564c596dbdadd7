//! `room_installations`: rooms of which an installation has written something, by slot, so that what it
//! leaves is found if nobody comes back for it. A row goes when the room is there, or when all is swept.

use hanse_store::{Column, Key, Kind, Row, StoreError, Table, Value};

use super::Columns;

/// Partition `slot`, clustering `room_id`. A row belongs to the slot that it names.
pub(crate) static ROOM_INSTALLATIONS: Table = Table {
    name: "room_installations",
    kind: Kind::Stamped,
    partition: &[Column::bigint("slot")],
    clustering: &[Column::text("room_id")],
    statics: &[],
    // When the last installation began; Unix milliseconds.
    values: &[Column::bigint("began_at_ms")],
};

/// A row of [`ROOM_INSTALLATIONS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InstallationRow {
    pub(crate) room_id: String,
    pub(crate) began_at_ms: i64,
}

impl InstallationRow {
    pub(crate) fn partition(slot: u32) -> Vec<Value> {
        vec![i64::from(slot).into()]
    }

    pub(crate) fn key(slot: u32, room_id: &str) -> Key {
        Key::new(Self::partition(slot), vec![room_id.into()])
    }

    pub(crate) fn values(began_at_ms: i64) -> Vec<Value> {
        vec![began_at_ms.into()]
    }

    pub(crate) fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            room_id: Columns::of(&ROOM_INSTALLATIONS, &row.clustering).text()?,
            began_at_ms: Columns::of(&ROOM_INSTALLATIONS, &row.values).bigint()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reads_back(slot: u32, room_id in ".*", began_at_ms: i64) {
            let stored = Row {
                clustering: InstallationRow::key(slot, &room_id).clustering,
                statics: Vec::new(),
                values: InstallationRow::values(began_at_ms),
            };
            let row = InstallationRow { room_id, began_at_ms };
            prop_assert_eq!(InstallationRow::read(&stored).unwrap(), row);
        }
    }
}
