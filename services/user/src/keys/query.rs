//! What others, and one's own other devices, learn of a user's keys ([spec]).
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#post_matrixclientv3keysquery

use std::collections::BTreeMap;

use hanse_store::{Range, StoreError};
use ruma::{
    OwnedDeviceId, UserId,
    encryption::{CrossSigningKey, DeviceKeys, KeyUsage},
    serde::Raw,
};
use serde_json::{Map, Value, json, value::to_raw_value};

use crate::{
    Unavailable, Users,
    cross_signing::StoredKeys,
    devices::DEVICES_READ_MAX,
    tables::{
        device::DeviceRow,
        device_keys::{DEVICE_KEYS, DeviceKeysRow},
        key_signature::KeySignatureRow,
    },
};

/// The keys of a user, as far as the asker may know them.
#[derive(Clone, Debug, Default)]
pub struct UserKeys {
    /// The identity keys of devices.
    pub device_keys: BTreeMap<OwnedDeviceId, Raw<DeviceKeys>>,
    /// The master key, with the asker's signature of it.
    pub master: Option<Raw<CrossSigningKey>>,
    /// The self-signing key.
    pub self_signing: Option<Raw<CrossSigningKey>>,
    /// The user-signing key, for its user alone.
    pub user_signing: Option<Raw<CrossSigningKey>>,
}

/// What was signed of a user's keys.
struct Signed<'a> {
    keys: &'a StoredKeys,
    /// By the user.
    own: Vec<KeySignatureRow>,
    /// By the asker, if that is somebody else: with the one key that signs others.
    askers: Vec<KeySignatureRow>,
}

impl Users {
    /// The keys of a local user, as `asker` sees them. `device_ids`: of these devices alone; empty: of
    /// all.
    pub async fn keys_of(
        &self,
        user_id: &UserId,
        device_ids: &[OwnedDeviceId],
        asker: &UserId,
    ) -> Result<UserKeys, Unavailable> {
        let keys = self.cross_signing_keys(user_id).await?;
        let signed = self.signed(user_id, &keys, asker).await?;
        let mut shown = self.devices_of(user_id, device_ids, &signed).await?;
        if keys.is_empty() {
            return Ok(shown);
        }
        shown.master = signed.master(user_id, asker)?;
        let key = |usage: &KeyUsage| {
            let object = keys.json(usage).map(object).transpose()?;
            object.map(|object| raw(&object)).transpose()
        };
        shown.self_signing = key(&KeyUsage::SelfSigning)?;
        if user_id == asker {
            shown.user_signing = key(&KeyUsage::UserSigning)?;
        }
        Ok(shown)
    }

    async fn signed<'a>(
        &self,
        user_id: &UserId,
        keys: &'a StoredKeys,
        asker: &UserId,
    ) -> Result<Signed<'a>, Unavailable> {
        let (mut own, mut askers) = (Vec::new(), Vec::new());
        if !keys.is_empty() {
            own = self.signatures_on(user_id, user_id).await?;
            if user_id != asker {
                askers = self.askers_signatures(asker, user_id).await?;
            }
        }
        Ok(Signed { keys, own, askers })
    }

    /// What the asker's current user-signing key says of somebody.
    async fn askers_signatures(
        &self,
        asker: &UserId,
        user_id: &UserId,
    ) -> Result<Vec<KeySignatureRow>, Unavailable> {
        let mut rows = self.signatures_on(asker, user_id).await?;
        if !rows.is_empty() {
            let keys = self.cross_signing_keys(asker).await?;
            let current = keys.key_id(&KeyUsage::UserSigning);
            rows.retain(|row| Some(&row.signing_key_id) == current.as_ref());
        }
        Ok(rows)
    }

    async fn devices_of(
        &self,
        user_id: &UserId,
        device_ids: &[OwnedDeviceId],
        signed: &Signed<'_>,
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
                let mut shown = named(&row, name.unwrap_or_default())?;
                signed.add_to_device(user_id, &row.device_id, &mut shown);
                keys.device_keys.insert(row.device_id, raw(&shown)?);
            }
        }
        Ok(keys)
    }
}

impl Signed<'_> {
    /// What the current self-signing key says of a device.
    fn add_to_device(
        &self,
        user_id: &UserId,
        device_id: &OwnedDeviceId,
        shown: &mut Map<String, Value>,
    ) {
        let Some(self_signing) = self.keys.key_id(&KeyUsage::SelfSigning) else {
            return;
        };
        let of_device = self
            .own
            .iter()
            .filter(|row| row.key_id == device_id.as_str() && row.signing_key_id == self_signing);
        for row in of_device {
            add(shown, user_id, row);
        }
    }

    /// The master key with what its user's devices and the asker say of it.
    fn master(
        &self,
        user_id: &UserId,
        asker: &UserId,
    ) -> Result<Option<Raw<CrossSigningKey>>, StoreError> {
        let (Some(json), Some(name)) = (
            self.keys.json(&KeyUsage::Master),
            self.keys.name(&KeyUsage::Master),
        ) else {
            return Ok(None);
        };
        let mut shown = object(json)?;
        for (signer, rows) in [(user_id, &self.own), (asker, &self.askers)] {
            for row in rows.iter().filter(|row| row.key_id == name) {
                add(&mut shown, signer, row);
            }
        }
        raw(&shown).map(Some)
    }
}

fn add(shown: &mut Map<String, Value>, signer: &UserId, row: &KeySignatureRow) {
    let signatures = shown.entry("signatures").or_insert_with(|| json!({}));
    let Some(signatures) = signatures.as_object_mut() else {
        return;
    };
    let of_signer = signatures
        .entry(signer.as_str())
        .or_insert_with(|| json!({}));
    if let Some(of_signer) = of_signer.as_object_mut() {
        of_signer.insert(row.signing_key_id.clone(), row.signature.as_str().into());
    }
}

/// As uploaded, with the device's name.
fn named(row: &DeviceKeysRow, name: &str) -> Result<Map<String, Value>, StoreError> {
    let mut object = object(&row.json)?;
    object.remove("unsigned");
    if !name.is_empty() {
        let unsigned = json!({ "device_display_name": name });
        object.insert("unsigned".to_owned(), unsigned);
    }
    Ok(object)
}

fn object(json: &str) -> Result<Map<String, Value>, StoreError> {
    serde_json::from_str(json).map_err(|error| corrupt(&error))
}

fn raw<T>(object: &Map<String, Value>) -> Result<Raw<T>, StoreError> {
    let json = to_raw_value(object).map_err(|error| corrupt(&error))?;
    Ok(Raw::from_json(json))
}

fn corrupt(reason: &dyn std::fmt::Display) -> StoreError {
    StoreError::Corrupt {
        table: DEVICE_KEYS.name,
        reason: reason.to_string(),
    }
}
