//! Logging out.

use hanse_proto::user::{DehydratedDevice, DeviceChanged, SessionEnded, user_entry::Kind};
use hanse_store::Range;
use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

use super::Session;
use crate::{
    TokenHash, Unavailable, Users,
    commands::command,
    devices::DEVICES_READ_MAX,
    tables::{device::DeviceRow, session::SessionRow},
    turn::Turn,
};

/// Sessions ended in one batch: with their hashes, some 20 KiB.
const ENDED_AT_ONCE: usize = 64;

/// Ends a session, if the token still is its own.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Logout {
    user_id: OwnedUserId,
    device_id: OwnedDeviceId,
    token_hash: TokenHash,
}
command!(Logout, "user.logout", of user_id, Users::logout_here => (), Unavailable);

/// Ends every session.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LogoutAll {
    user_id: OwnedUserId,
}
command!(LogoutAll, "user.logout_all", of user_id, Users::logout_all_here => (), Unavailable);

/// Ends the sessions of some devices.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DeleteDevices {
    user_id: OwnedUserId,
    device_ids: Vec<OwnedDeviceId>,
}
command!(DeleteDevices, "user.delete_devices", of user_id,
    Users::delete_devices_here => (), Unavailable);

impl Users {
    /// Ends a session: its tokens are void and its device is gone when this returns.
    pub async fn logout(&self, session: &Session) -> Result<(), Unavailable> {
        let logout = Logout {
            user_id: session.user_id.clone(),
            device_id: session.device_id.clone(),
            token_hash: session.token_hash,
        };
        self.routed(logout).await
    }

    async fn logout_here(&self, logout: &Logout) -> Result<(), Unavailable> {
        let turn = self.user_turn(&logout.user_id).await?;
        let row = self.session_row(&logout.user_id, &logout.device_id).await?;
        // A login that took the device over meanwhile keeps it.
        let hash = logout.token_hash.to_vec();
        match row.filter(|row| row.hashes().contains(&hash)) {
            Some(row) => {
                let ended = vec![(row.device_id.clone(), Some(row))];
                self.end_devices(&turn, &logout.user_id, ended).await
            }
            None => Ok(()),
        }
    }

    /// Ends every session of a user.
    pub async fn logout_all(&self, user_id: &UserId) -> Result<(), Unavailable> {
        let user_id = user_id.to_owned();
        self.routed(LogoutAll { user_id }).await
    }

    async fn logout_all_here(&self, logout: &LogoutAll) -> Result<(), Unavailable> {
        let turn = self.user_turn(&logout.user_id).await?;
        self.end_sessions(&turn, &logout.user_id, |_| true).await
    }

    /// Ends the sessions of the chosen devices and removes these. Every choice that is not a
    /// device is passed over.
    pub async fn delete_devices(
        &self,
        user_id: &UserId,
        device_ids: &[OwnedDeviceId],
    ) -> Result<(), Unavailable> {
        let delete = DeleteDevices {
            user_id: user_id.to_owned(),
            device_ids: device_ids.to_vec(),
        };
        self.routed(delete).await
    }

    async fn delete_devices_here(&self, delete: &DeleteDevices) -> Result<(), Unavailable> {
        let turn = self.user_turn(&delete.user_id).await?;
        let chosen = |device_id: &DeviceId| delete.device_ids.iter().any(|id| id == device_id);
        self.end_sessions(&turn, &delete.user_id, chosen).await
    }

    pub(crate) async fn end_sessions(
        &self,
        turn: &Turn,
        user_id: &UserId,
        chosen: impl Fn(&DeviceId) -> bool,
    ) -> Result<(), Unavailable> {
        let partition = [user_id.as_str().into()];
        let devices: Vec<DeviceRow> = self
            .archive()
            .range(partition.clone(), Range::all(), DEVICES_READ_MAX)
            .await?;
        let mut sessions: Vec<SessionRow> = self
            .archive()
            .range(partition, Range::all(), DEVICES_READ_MAX)
            .await?;
        let mut ended: Vec<(OwnedDeviceId, Option<SessionRow>)> = Vec::new();
        for device in devices
            .into_iter()
            .filter(|device| chosen(&device.device_id))
        {
            let at = sessions
                .iter()
                .position(|session| session.device_id == device.device_id);
            ended.push((device.device_id, at.map(|at| sessions.swap_remove(at))));
        }
        self.end_devices(turn, user_id, ended).await
    }

    pub(crate) async fn end_devices(
        &self,
        turn: &Turn,
        user_id: &UserId,
        ended: Vec<(OwnedDeviceId, Option<SessionRow>)>,
    ) -> Result<(), Unavailable> {
        for chunk in ended.chunks(ENDED_AT_ONCE) {
            let mut device_ids = Vec::new();
            for (device_id, _) in chunk {
                self.clear_device(turn, user_id, device_id).await?;
                if self.has_device_keys(user_id, device_id).await? {
                    device_ids.push(device_id.to_string());
                }
            }
            let entries = chunk.iter().map(|(device_id, session)| {
                Kind::SessionEnded(SessionEnded {
                    device_id: device_id.to_string(),
                    revoked_hashes: session.as_ref().map(SessionRow::hashes).unwrap_or_default(),
                    device_removed: true,
                })
            });
            let mut entries: Vec<_> = entries.collect();
            let dehydrated = self.dehydrated_row(user_id).await?;
            if dehydrated.is_some_and(|row| chunk.iter().any(|(id, _)| *id == row.device_id)) {
                let none = DehydratedDevice::default();
                entries.push(Kind::DehydratedDevice(none));
            }
            if !device_ids.is_empty() {
                entries.push(Kind::DeviceChanged(DeviceChanged { device_ids }));
            }
            self.commit_user(turn, entries).await?;
        }
        Ok(())
    }

    /// Removes what a device has besides its session and its identity keys: first, so that a new
    /// device of the same name finds nothing of it, wherever this stops.
    pub(crate) async fn clear_device(
        &self,
        turn: &Turn,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<(), Unavailable> {
        self.remove_keys(turn, user_id, device_id).await?;
        self.empty_inbox(turn, user_id, device_id).await
    }
}
