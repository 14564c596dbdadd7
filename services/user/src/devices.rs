//! Devices: what a user sees of the sessions.

use std::net::IpAddr;

use hanse_proto::user::{self as proto, user_entry::Kind};
use hanse_store::Range;
use moka::sync::Cache;
use ruma::{
    DeviceId, MilliSecondsSinceUnixEpoch, OwnedDeviceId, OwnedUserId, UInt, UserId,
    api::client::device::Device,
};
use serde::{Deserialize, Serialize};

use crate::{
    Session, Unavailable, Users,
    commands::command,
    error::{from_unavailable, refusals},
    tables::device::{self, DeviceRow},
};

/// Longest device id, in bytes.
pub(crate) const DEVICE_ID_BYTES_MAX: usize = 255;
/// Longest name of a device, in bytes.
pub(crate) const DISPLAY_NAME_BYTES_MAX: usize = 512;
/// Devices read at once; more than a user can have.
pub(crate) const DEVICES_READ_MAX: usize = 10_000;
/// Devices whose last use is remembered.
const LAST_SEEN_MAX: u64 = 200_000;

/// When devices were last used, since this process started: coarse by nature, so it is kept in
/// memory alone.
pub(crate) struct LastSeen {
    seen: Cache<(OwnedUserId, OwnedDeviceId), (i64, Option<IpAddr>)>,
}

impl LastSeen {
    pub(crate) fn new() -> Self {
        Self {
            seen: Cache::new(LAST_SEEN_MAX),
        }
    }
}

/// Why a device was not changed.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum DeviceError {
    /// The user has no such device (`M_NOT_FOUND`).
    #[error("there is no such device")]
    Unknown,
    /// The name has too many bytes (`M_INVALID_PARAM`).
    #[error("a device's name has at most {DISPLAY_NAME_BYTES_MAX} bytes")]
    DisplayName,
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

from_unavailable!(DeviceError);
refusals!(DeviceError);

/// Names a device.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RenameDevice {
    user_id: OwnedUserId,
    device_id: OwnedDeviceId,
    /// Empty: it has none.
    display_name: String,
}
command!(RenameDevice, "user.rename_device", of user_id, Users::rename_device_here => (), DeviceError);

impl Users {
    /// Every device of a user, by id.
    pub async fn devices(&self, user_id: &UserId) -> Result<Vec<Device>, Unavailable> {
        let partition = [user_id.as_str().into()];
        let rows: Vec<DeviceRow> = self
            .archive()
            .range(partition, Range::all(), DEVICES_READ_MAX)
            .await?;
        Ok(rows
            .into_iter()
            .map(|row| self.shown(user_id, row))
            .collect())
    }

    /// One device of a user.
    pub async fn device(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<Option<Device>, Unavailable> {
        let row = self.device_row(user_id, device_id).await?;
        Ok(row.map(|row| self.shown(user_id, row)))
    }

    /// Names a device; `None` leaves it without a name.
    pub async fn rename_device(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        display_name: Option<&str>,
    ) -> Result<(), DeviceError> {
        let display_name = display_name.unwrap_or_default().to_owned();
        if display_name.len() > DISPLAY_NAME_BYTES_MAX {
            return Err(DeviceError::DisplayName);
        }
        let rename = RenameDevice {
            user_id: user_id.to_owned(),
            device_id: device_id.to_owned(),
            display_name,
        };
        self.routed(rename).await
    }

    async fn rename_device_here(&self, rename: &RenameDevice) -> Result<(), DeviceError> {
        let (user_id, device_id) = (&rename.user_id, &rename.device_id);
        let turn = self.user_turn(user_id).await?;
        let row = self
            .device_row(user_id, device_id)
            .await?
            .ok_or(DeviceError::Unknown)?;
        let device = proto::Device {
            device_id: device_id.to_string(),
            display_name: rename.display_name.clone(),
            created_at_ms: row.created_at_ms,
        };
        let mut kinds = vec![Kind::Device(device)];
        if self.has_device_keys(user_id, device_id).await? {
            let device_ids = vec![device_id.to_string()];
            kinds.push(Kind::DeviceChanged(proto::DeviceChanged { device_ids }));
        }
        self.commit_user(&turn, kinds).await?;
        Ok(())
    }

    /// Notes that a session was used, and from where. Cheap; kept in memory.
    pub fn saw(&self, session: &Session, ip: Option<IpAddr>) {
        let key = (session.user_id.clone(), session.device_id.clone());
        self.inner.last_seen.seen.insert(key, (self.now_ms(), ip));
    }

    pub(crate) async fn device_row(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<Option<DeviceRow>, Unavailable> {
        let key = device::key(user_id.as_str(), device_id.as_str());
        Ok(self.archive().get(key).await?)
    }

    fn shown(&self, user_id: &UserId, row: DeviceRow) -> Device {
        let key = (user_id.to_owned(), row.device_id.clone());
        let seen = self.inner.last_seen.seen.get(&key);
        let mut device = Device::new(row.device_id);
        device.display_name = Some(row.display_name).filter(|name| !name.is_empty());
        if let Some((at_ms, ip)) = seen {
            let at = u64::try_from(at_ms)
                .ok()
                .and_then(|at| UInt::try_from(at).ok());
            device.last_seen_ts = at.map(MilliSecondsSinceUnixEpoch);
            device.last_seen_ip = ip.map(|ip| ip.to_string());
        }
        device
    }
}
