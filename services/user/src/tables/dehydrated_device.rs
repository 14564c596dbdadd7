//! `dehydrated_devices`: the device of each user that waits to be rehydrated; there is at most one.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, StoreError, Table, Value};
use ruma::OwnedDeviceId;

use crate::archive::{Cells, StoredRow};

pub(crate) static DEHYDRATED_DEVICES: Table = Table {
    name: "dehydrated_devices",
    kind: Kind::Stamped,
    partition: &[Column::text("user_id")],
    clustering: &[],
    statics: &[],
    values: &[
        Column::text("device_id"),
        // A JSON object.
        Column::text("device_data"),
        Column::bigint("position"),
    ],
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DehydratedDeviceRow {
    pub(crate) device_id: OwnedDeviceId,
    pub(crate) device_data: String,
    pub(crate) position: Position,
}

pub(crate) fn key(user_id: &str) -> Key {
    Key::partition([user_id.into()])
}

pub(crate) fn values(device_id: &str, device_data: &str, position: Position) -> Vec<Value> {
    vec![
        device_id.into(),
        device_data.into(),
        position.packed().into(),
    ]
}

impl StoredRow for DehydratedDeviceRow {
    fn table() -> &'static Table {
        &DEHYDRATED_DEVICES
    }

    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            device_id: cells.id("device_id")?,
            device_data: cells.text("device_data")?,
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
        fn reads_back(device_id in ".*", device_data in ".*", position: i64) {
            let position = Position::from_packed(position);
            let columns = values(&device_id, &device_data, position);
            let row = DehydratedDeviceRow { device_id: device_id.into(), device_data, position };
            prop_assert_eq!(read_back::<DehydratedDeviceRow>(&key("@a:b"), columns), row);
        }
    }
}
