//! Dehydrated devices ([MSC3814]): a device without a session, which gathers keys and messages until a
//! new session of the user takes them over.
//!
//! Invariant: a user has at most one, and no session is ever on it.
//!
//! [MSC3814]: https://github.com/matrix-org/matrix-spec-proposals/pull/3814

use hanse_log::Position;
use hanse_proto::user::{self as proto, user_entry::Kind};
use ruma::{
    DeviceId, OwnedDeviceId, OwnedUserId, UserId,
    api::client::dehydrated_device::DehydratedDeviceData, serde::Raw,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    BadKeys, KeysUpload, StartSessionError, ToDevicePage, Unavailable, Users,
    commands::command,
    error::{from_unavailable, refusals},
    keys::{CheckedKeys, UploadKeysError},
    sessions::check_names,
    tables::dehydrated_device::{self, DEHYDRATED_DEVICES, DehydratedDeviceRow},
    turn::Turn,
};

/// Largest data of a device, in bytes.
const DEVICE_DATA_BYTES_MAX: usize = 48 * 1024;

/// A device that waits to be rehydrated.
#[derive(Clone, Debug)]
pub struct DehydratedDevice {
    /// Its id.
    pub device_id: OwnedDeviceId,
    /// Its private parts, which only the user can read.
    pub device_data: Raw<DehydratedDeviceData>,
}

/// Why a device was not dehydrated, or not found.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum DehydratedDeviceError {
    /// The user has none, or another one (`M_NOT_FOUND`).
    #[error("there is no such dehydrated device")]
    Unknown,
    /// Its data are too large (`M_TOO_LARGE`).
    #[error("the data of a device have at most {DEVICE_DATA_BYTES_MAX} bytes")]
    TooLarge,
    /// A session is on a device of this id (`M_INVALID_PARAM`).
    #[error("there is another device with this id")]
    Taken,
    /// Its names are too long, or the user has too many devices.
    #[error(transparent)]
    Device(StartSessionError),
    /// Its keys were not taken. What is wrong with them is found out where they come in.
    #[error(transparent)]
    Keys(UploadKeysError),
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

from_unavailable!(DehydratedDeviceError);
refusals!(DehydratedDeviceError);

impl From<BadKeys> for DehydratedDeviceError {
    fn from(error: BadKeys) -> Self {
        Self::Keys(error.into())
    }
}

impl From<UploadKeysError> for DehydratedDeviceError {
    fn from(error: UploadKeysError) -> Self {
        match error {
            UploadKeysError::Unavailable(error) => Self::Unavailable(error),
            other => Self::Keys(other),
        }
    }
}

impl From<StartSessionError> for DehydratedDeviceError {
    fn from(error: StartSessionError) -> Self {
        match error {
            StartSessionError::Unavailable(error) => Self::Unavailable(error),
            other => Self::Device(other),
        }
    }
}

/// Dehydrates a device, in place of the one that there is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PutDehydratedDevice {
    user_id: OwnedUserId,
    device_id: OwnedDeviceId,
    display_name: Option<String>,
    device_data: String,
    keys: CheckedKeys,
}
command!(PutDehydratedDevice, "user.put_dehydrated_device", of user_id,
    Users::put_dehydrated_device_here => (), DehydratedDeviceError);

/// Removes the device; gives its id.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RemoveDehydratedDevice {
    user_id: OwnedUserId,
}
command!(RemoveDehydratedDevice, "user.remove_dehydrated_device", of user_id,
    Users::remove_dehydrated_device_here => OwnedDeviceId, DehydratedDeviceError);

impl Users {
    /// The user's dehydrated device.
    pub async fn dehydrated_device(
        &self,
        user_id: &UserId,
    ) -> Result<DehydratedDevice, DehydratedDeviceError> {
        let row = self.dehydrated_row(user_id).await?;
        let row = row.ok_or(DehydratedDeviceError::Unknown)?;
        let data = RawValue::from_string(row.device_data).map_err(|error| {
            Unavailable::from(hanse_store::StoreError::Corrupt {
                table: DEHYDRATED_DEVICES.name,
                reason: error.to_string(),
            })
        })?;
        Ok(DehydratedDevice {
            device_id: row.device_id,
            device_data: Raw::from_json(data),
        })
    }

    /// Dehydrates a device, with its keys. The one that there is goes first, with all that waits for it.
    pub async fn put_dehydrated_device(
        &self,
        user_id: &UserId,
        device: &DehydratedDevice,
        display_name: Option<String>,
        keys: &KeysUpload,
    ) -> Result<(), DehydratedDeviceError> {
        let device_id = &device.device_id;
        check_names(device_id, display_name.as_deref())?;
        let device_data = device.device_data.json().get();
        if device_data.len() > DEVICE_DATA_BYTES_MAX {
            return Err(DehydratedDeviceError::TooLarge);
        }
        let put = PutDehydratedDevice {
            keys: CheckedKeys::of(user_id, device_id, keys)?,
            user_id: user_id.to_owned(),
            device_id: device_id.clone(),
            display_name,
            device_data: device_data.to_owned(),
        };
        self.routed(put).await
    }

    async fn put_dehydrated_device_here(
        &self,
        put: &PutDehydratedDevice,
    ) -> Result<(), DehydratedDeviceError> {
        let (user_id, device_id) = (&put.user_id, &put.device_id);
        let turn = self.user_turn(user_id).await?;
        let before = self.dehydrated_row(user_id).await?;
        if let Some(before) = before {
            self.end_device(&turn, user_id, before.device_id).await?;
        }
        if self.device_row(user_id, device_id).await?.is_some() {
            return Err(DehydratedDeviceError::Taken);
        }
        let display_name = put.display_name.clone();
        let device = self
            .device_at_login(&turn, user_id, device_id, display_name)
            .await?;
        let dehydrated = proto::DehydratedDevice {
            device_id: device_id.to_string(),
            device_data: put.device_data.clone(),
        };
        let kinds = [Kind::Device(device), Kind::DehydratedDevice(dehydrated)];
        self.commit_user(&turn, kinds).await?;
        self.write_keys(&turn, user_id, device_id, put.keys.clone())
            .await?;
        Ok(())
    }

    /// Removes the dehydrated device; gives its id.
    pub async fn remove_dehydrated_device(
        &self,
        user_id: &UserId,
    ) -> Result<OwnedDeviceId, DehydratedDeviceError> {
        let user_id = user_id.to_owned();
        self.routed(RemoveDehydratedDevice { user_id }).await
    }

    async fn remove_dehydrated_device_here(
        &self,
        remove: &RemoveDehydratedDevice,
    ) -> Result<OwnedDeviceId, DehydratedDeviceError> {
        let turn = self.user_turn(&remove.user_id).await?;
        let row = self.dehydrated_row(&remove.user_id).await?;
        let row = row.ok_or(DehydratedDeviceError::Unknown)?;
        self.end_device(&turn, &remove.user_id, row.device_id.clone())
            .await?;
        Ok(row.device_id)
    }

    /// What waits for the dehydrated device after a position of its user's slot. It goes with the device.
    pub async fn dehydrated_messages(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        after: Position,
    ) -> Result<ToDevicePage, DehydratedDeviceError> {
        let row = self.dehydrated_row(user_id).await?;
        row.filter(|row| row.device_id == device_id)
            .ok_or(DehydratedDeviceError::Unknown)?;
        let slot = self.inner.logs.slot_of(user_id.as_str());
        let up_to = self.inner.logs.applied(slot);
        Ok(self.to_device((user_id, device_id), after, up_to).await?)
    }

    pub(crate) async fn dehydrated_row(
        &self,
        user_id: &UserId,
    ) -> Result<Option<DehydratedDeviceRow>, Unavailable> {
        let key = dehydrated_device::key(user_id.as_str());
        Ok(self.archive().get(key).await?)
    }

    async fn end_device(
        &self,
        turn: &Turn,
        user_id: &UserId,
        device_id: OwnedDeviceId,
    ) -> Result<(), Unavailable> {
        self.end_devices(turn, user_id, vec![(device_id, None)])
            .await
    }
}
