//! Keys that go with their device.

use hanse_proto::user::{self as proto, user_entry::Kind};
use ruma::{DeviceId, UserId};

use crate::{
    Unavailable, Users,
    tables::device_keys::{self, DeviceKeysRow},
    turn::Turn,
};

/// One-time keys removed with one entry: some 40 KiB, if their names are not unusually long.
const REMOVED_AT_ONCE: usize = 200;

impl Users {
    /// Removes a device's one-time and fallback keys, and the signatures of it, if it has any.
    pub(crate) async fn remove_keys(
        &self,
        turn: &Turn,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<(), Unavailable> {
        self.remove_signatures_of_device(turn, user_id, device_id)
            .await?;
        let pools = self.pools(user_id, device_id).await?;
        let mut keys = Vec::new();
        for pool in &pools {
            let owner = (user_id.as_str(), device_id.as_str());
            let waiting = self.waiting(owner, pool).await?;
            keys.extend(waiting.into_iter().map(|row| proto::OneTimeKeyRef {
                algorithm: row.algorithm,
                position: row.position.packed(),
                key_id: row.key_id,
            }));
        }
        for some in keys.chunks(REMOVED_AT_ONCE) {
            let removed = proto::KeysRemoved {
                device_id: device_id.to_string(),
                one_time_keys: some.to_vec(),
                ..proto::KeysRemoved::default()
            };
            self.commit_user(turn, [Kind::KeysRemoved(removed)]).await?;
        }
        let fallbacks = self.fallbacks(user_id, device_id).await?;
        if pools.is_empty() && fallbacks.is_empty() {
            return Ok(());
        }
        let removed = proto::KeysRemoved {
            device_id: device_id.to_string(),
            one_time_keys: Vec::new(),
            pools: pools.into_iter().map(|row| row.algorithm).collect(),
            fallbacks: fallbacks.into_iter().map(|row| row.algorithm).collect(),
        };
        self.commit_user(turn, [Kind::KeysRemoved(removed)]).await?;
        Ok(())
    }

    /// Whether others know the device's keys: if so, they are told when it goes, or is renamed.
    pub(crate) async fn has_device_keys(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<bool, Unavailable> {
        let key = device_keys::key(user_id.as_str(), device_id.as_str());
        let row: Option<DeviceKeysRow> = self.archive().get(key).await?;
        Ok(row.is_some())
    }
}
