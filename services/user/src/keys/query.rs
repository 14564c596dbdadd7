//! What others, and one's own other devices, learn of a user's keys ([spec]).
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#post_matrixclientv3keysquery

use std::collections::BTreeMap;

use hanse_store::{Range, StoreError};
use ruma::{OwnedDeviceId, UserId, encryption::DeviceKeys, serde::Raw};
use serde_json::{Map, Value, json, value::to_raw_value};

use crate::{
    Unavailable, Users,
    devices::DEVICES_READ_MAX,
    tables::{
        device::DeviceRow,
        device_keys::{DEVICE_KEYS, DeviceKeysRow},
    },
};

/// The keys of a user, as far as the asker may know them.
#[derive(Clone, Debug, Default)]
pub struct UserKeys {
    /// The identity keys of devices.
    pub device_keys: BTreeMap<OwnedDeviceId, Raw<DeviceKeys>>,
}

impl Users {
    /// The keys of a local user. `device_ids`: of these devices alone; empty: of all.
    pub async fn keys_of(
        &self,
        user_id: &UserId,
        device_ids: &[OwnedDeviceId],
    ) -> Result<UserKeys, Unavailable> {
        let partition = [user_id.as_str().into()];
        let rows: Vec<DeviceKeysRow> = self
            .archive()
            .range(partition.clone(), Range::all(), DEVICES_READ_MAX)
            .await?;
        if rows.is_empty() {
            return Ok(UserKeys::default());
        }
        let devices: Vec<DeviceRow> = self
            .archive()
            .range(partition, Range::all(), DEVICES_READ_MAX)
            .await?;
        let names: BTreeMap<_, _> = devices
            .into_iter()
            .map(|device| (device.device_id, device.display_name))
            .collect();
        let mut keys = UserKeys::default();
        for row in rows {
            if device_ids.is_empty() || device_ids.contains(&row.device_id) {
                let name = names.get(&row.device_id).map(String::as_str);
                let shown = shown(&row, name.unwrap_or_default())?;
                keys.device_keys.insert(row.device_id, shown);
            }
        }
        Ok(keys)
    }
}

/// As uploaded, with the device's name.
fn shown(row: &DeviceKeysRow, name: &str) -> Result<Raw<DeviceKeys>, StoreError> {
    let mut object: Map<String, Value> =
        serde_json::from_str(&row.json).map_err(|error| corrupt(&error))?;
    object.remove("unsigned");
    if !name.is_empty() {
        let unsigned = json!({ "device_display_name": name });
        object.insert("unsigned".to_owned(), unsigned);
    }
    let json = to_raw_value(&object).map_err(|error| corrupt(&error))?;
    Ok(Raw::from_json(json))
}

fn corrupt(reason: &dyn std::fmt::Display) -> StoreError {
    StoreError::Corrupt {
        table: DEVICE_KEYS.name,
        reason: reason.to_string(),
    }
}
