//! `device_keys`: the identity keys of devices.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, StoreError, Table, Value};
use ruma::OwnedDeviceId;

use crate::archive::{Cells, StoredRow};

pub(crate) static DEVICE_KEYS: Table = Table {
    name: "device_keys",
    kind: Kind::Stamped,
    partition: &[Column::text("user_id")],
    clustering: &[Column::text("device_id")],
    statics: &[],
    values: &[
        // A JSON object, as the device uploaded it.
        Column::text("json"),
        Column::bigint("position"),
    ],
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DeviceKeysRow {
    pub(crate) device_id: OwnedDeviceId,
    pub(crate) json: String,
    pub(crate) position: Position,
}

pub(crate) fn key(user_id: &str, device_id: &str) -> Key {
    Key::new([user_id.into()], [device_id.into()])
}

pub(crate) fn values(json: &str, position: Position) -> Vec<Value> {
    vec![json.into(), position.packed().into()]
}

impl StoredRow for DeviceKeysRow {
    fn table() -> &'static Table {
        &DEVICE_KEYS
    }

    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            device_id: cells.id("device_id")?,
            json: cells.text("json")?,
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
        fn reads_back(device_id in ".*", json in ".*", position: i64) {
            let position = Position::from_packed(position);
            let (key, columns) = (key("@a:b", &device_id), values(&json, position));
            let row = DeviceKeysRow { device_id: device_id.into(), json, position };
            prop_assert_eq!(read_back::<DeviceKeysRow>(&key, columns), row);
        }
    }
}
