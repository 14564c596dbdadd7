//! `devices`: what a device's owner knows it by.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, StoreError, Table, Value};
use ruma::OwnedDeviceId;

use crate::archive::{Cells, StoredRow};

pub(crate) static DEVICES: Table = Table {
    name: "devices",
    kind: Kind::Stamped,
    partition: &[Column::text("user_id")],
    clustering: &[Column::text("device_id")],
    statics: &[],
    values: &[
        // Empty: none.
        Column::text("display_name"),
        Column::bigint("created_at_ms"),
        Column::bigint("position"),
    ],
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DeviceRow {
    pub(crate) device_id: OwnedDeviceId,
    pub(crate) display_name: String,
    pub(crate) created_at_ms: i64,
    pub(crate) position: Position,
}

pub(crate) fn key(user_id: &str, device_id: &str) -> Key {
    Key::new([user_id.into()], [device_id.into()])
}

pub(crate) fn values(display_name: &str, created_at_ms: i64, position: Position) -> Vec<Value> {
    vec![
        display_name.into(),
        created_at_ms.into(),
        position.packed().into(),
    ]
}

impl StoredRow for DeviceRow {
    fn table() -> &'static Table {
        &DEVICES
    }

    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            device_id: cells.id("device_id")?,
            display_name: cells.text("display_name")?,
            created_at_ms: cells.bigint("created_at_ms")?,
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
        fn reads_back(device_id in ".*", display_name in ".*", created_at_ms: i64, position: i64) {
            let position = Position::from_packed(position);
            let columns = values(&display_name, created_at_ms, position);
            let key = key("@a:b", &device_id);
            let device_id = device_id.into();
            let row = DeviceRow { device_id, display_name, created_at_ms, position };
            prop_assert_eq!(read_back::<DeviceRow>(&key, columns), row);
        }
    }
}
