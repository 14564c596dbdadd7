//! `device_changes`: where a user's devices or their keys last changed, in the user's slot: what the
//! user's own devices are told from.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, StoreError, Table, Value};

use crate::archive::{Cells, StoredRow};

pub(crate) static DEVICE_CHANGES: Table = Table {
    name: "device_changes",
    kind: Kind::Stamped,
    partition: &[Column::text("user_id")],
    clustering: &[],
    statics: &[],
    values: &[Column::bigint("position")],
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DeviceChangeRow {
    pub(crate) position: Position,
}

pub(crate) fn key(user_id: &str) -> Key {
    Key::partition([user_id.into()])
}

pub(crate) fn values(position: Position) -> Vec<Value> {
    vec![position.packed().into()]
}

impl StoredRow for DeviceChangeRow {
    fn table() -> &'static Table {
        &DEVICE_CHANGES
    }

    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            position: cells.position("position")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tables::read_back;

    proptest! {
        #[test]
        fn reads_back(position: i64) {
            let position = Position::from_packed(position);
            let read = read_back::<DeviceChangeRow>(&key("@a:b"), values(position));
            prop_assert_eq!(read, DeviceChangeRow { position });
        }
    }
}
