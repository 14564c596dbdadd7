//! Uploading keys ([spec]).
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#post_matrixclientv3keysupload

use std::collections::BTreeMap;

use hanse_log::Position;
use hanse_proto::user::{self as proto, user_entry::Kind};
use hanse_store::Range;
use ruma::{
    DeviceId, OneTimeKeyAlgorithm, OwnedDeviceId, OwnedOneTimeKeyId, OwnedUserId, UserId,
    encryption::{DeviceKeys, OneTimeKey},
    serde::Raw,
};
use serde::{Deserialize, Serialize};

use super::{
    BadKeys, ONE_TIME_KEYS_MAX,
    check::{CheckedKeys, Keys, essence, essence_hash, same_identity},
    counts,
};
use crate::{
    Unavailable, Users,
    commands::command,
    error::{from_unavailable, refusals},
    tables::{
        claimed_key::{self, ClaimedKeyRow},
        device_keys::{self, DeviceKeysRow},
        one_time_key::{self, OneTimeKeyRow},
        one_time_key_pool::PoolRow,
    },
    turn::Turn,
};

/// What a device uploads.
#[derive(Clone, Debug, Default)]
pub struct KeysUpload {
    /// Its identity keys.
    pub device_keys: Option<Raw<DeviceKeys>>,
    /// One-time keys.
    pub one_time_keys: BTreeMap<OwnedOneTimeKeyId, Raw<OneTimeKey>>,
    /// Fallback keys, at most one of each algorithm.
    pub fallback_keys: BTreeMap<OwnedOneTimeKeyId, Raw<OneTimeKey>>,
}

/// Why keys were not taken.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum UploadKeysError {
    /// They are not what they should be. They are checked where they come in: this does not travel.
    #[error(transparent)]
    #[serde(skip)]
    Bad(#[from] BadKeys),
    /// Another key with this id waits to be claimed (`M_INVALID_PARAM`).
    #[error("there is another one-time key {id} already")]
    Conflict {
        /// Its id.
        id: String,
    },
    /// Too many wait (`M_LIMIT_EXCEEDED`).
    #[error("the device has {ONE_TIME_KEYS_MAX} one-time keys of this algorithm already")]
    TooMany,
    /// The device was logged out meanwhile (`M_UNKNOWN_TOKEN`).
    #[error("there is no such device")]
    UnknownDevice,
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

from_unavailable!(UploadKeysError);
refusals!(UploadKeysError);

/// Takes a device's keys; gives how many one-time keys it has then.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UploadKeys {
    user_id: OwnedUserId,
    device_id: OwnedDeviceId,
    keys: CheckedKeys,
}
command!(UploadKeys, "user.upload_keys", of user_id,
    Users::upload_keys_here => BTreeMap<OneTimeKeyAlgorithm, u64>, UploadKeysError);

impl Users {
    /// Takes a device's keys; the one-time keys that it has then, by algorithm. A repeated upload
    /// changes nothing.
    pub async fn upload_keys(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        upload: &KeysUpload,
    ) -> Result<BTreeMap<OneTimeKeyAlgorithm, u64>, UploadKeysError> {
        let upload = UploadKeys {
            keys: CheckedKeys::of(user_id, device_id, upload)?,
            user_id: user_id.to_owned(),
            device_id: device_id.to_owned(),
        };
        self.routed(upload).await
    }

    async fn upload_keys_here(
        &self,
        upload: &UploadKeys,
    ) -> Result<BTreeMap<OneTimeKeyAlgorithm, u64>, UploadKeysError> {
        let (user_id, device_id) = (&upload.user_id, &upload.device_id);
        let turn = self.user_turn(user_id).await?;
        if self.device_row(user_id, device_id).await?.is_none() {
            return Err(UploadKeysError::UnknownDevice);
        }
        self.write_keys(&turn, user_id, device_id, upload.keys.clone())
            .await
    }

    /// The same, in the user's turn.
    pub(crate) async fn write_keys(
        &self,
        turn: &Turn,
        user_id: &UserId,
        device_id: &DeviceId,
        checked: CheckedKeys,
    ) -> Result<BTreeMap<OneTimeKeyAlgorithm, u64>, UploadKeysError> {
        let mut kinds = Vec::new();
        if let Some(json) = checked.identity {
            kinds.extend(self.identity(turn, user_id, device_id, json).await?);
        }
        let mut pools = self.pools(user_id, device_id).await?;
        for (algorithm, keys) in checked.one_time {
            let owner = (user_id, device_id);
            let added = self.added(owner, &algorithm, keys, &mut pools).await?;
            kinds.extend(added.map(Kind::OneTimeKeysAdded));
        }
        let known = self.fallbacks(user_id, device_id).await?;
        for (algorithm, (key_id, json)) in checked.fallback {
            let same = known.iter().any(|row| {
                row.algorithm == algorithm
                    && row.key_id == key_id
                    && essence(&row.json) == essence(&json)
            });
            if !same {
                kinds.push(Kind::FallbackKey(proto::FallbackKey {
                    device_id: device_id.to_string(),
                    algorithm,
                    key_id,
                    json,
                    used: false,
                }));
            }
        }
        if !kinds.is_empty() {
            self.commit_user(turn, kinds).await?;
        }
        Ok(counts(&pools))
    }

    /// Identity keys that differ from those that are there. Other keys that were signed by former
    /// ones go first.
    async fn identity(
        &self,
        turn: &Turn,
        user_id: &UserId,
        device_id: &DeviceId,
        json: String,
    ) -> Result<Vec<Kind>, Unavailable> {
        let key = device_keys::key(user_id.as_str(), device_id.as_str());
        let before: Option<DeviceKeysRow> = self.archive().get(key).await?;
        if before.as_ref().is_some_and(|before| before.json == json) {
            return Ok(Vec::new());
        }
        let kept = before.is_some_and(|before| same_identity(&before.json, &json));
        if !kept {
            self.remove_keys(turn, user_id, device_id).await?;
        }
        let device_ids = vec![device_id.to_string()];
        let device_id = device_id.to_string();
        Ok(vec![
            Kind::DeviceKeys(proto::DeviceKeys { device_id, json }),
            Kind::DeviceChanged(proto::DeviceChanged { device_ids }),
        ])
    }

    /// The keys that are new, with the pool after them.
    async fn added(
        &self,
        (user_id, device_id): (&UserId, &DeviceId),
        algorithm: &str,
        keys: Keys,
        pools: &mut Vec<PoolRow>,
    ) -> Result<Option<proto::OneTimeKeysAdded>, UploadKeysError> {
        let at = pools.iter().position(|pool| pool.algorithm == algorithm);
        let pool = at.map(|at| pools.swap_remove(at)).unwrap_or(PoolRow {
            algorithm: algorithm.to_owned(),
            count: 0,
            first_position: Position::START,
            position: Position::START,
        });
        let owner = (user_id.as_str(), device_id.as_str());
        let waiting = match pool.count {
            0 => Vec::new(),
            _ => self.waiting(owner, &pool).await?,
        };
        let mut fresh = Vec::new();
        for (key_id, json) in keys {
            if self
                .is_new(owner, &waiting, algorithm, &key_id, &json)
                .await?
            {
                fresh.push(proto::OneTimeKey { key_id, json });
            }
        }
        let count = pool.count + fresh.len() as i64;
        if count > ONE_TIME_KEYS_MAX as i64 {
            return Err(UploadKeysError::TooMany);
        }
        let first_position = match pool.count {
            0 => 0,
            _ => pool.first_position.packed(),
        };
        pools.push(PoolRow { count, ..pool });
        Ok((!fresh.is_empty()).then(|| proto::OneTimeKeysAdded {
            device_id: device_id.to_string(),
            algorithm: algorithm.to_owned(),
            keys: fresh,
            count,
            first_position,
        }))
    }

    async fn is_new(
        &self,
        owner: (&str, &str),
        waiting: &[OneTimeKeyRow],
        algorithm: &str,
        key_id: &str,
        json: &str,
    ) -> Result<bool, UploadKeysError> {
        if let Some(held) = waiting.iter().find(|held| held.key_id == key_id) {
            if essence(&held.json) == essence(json) {
                return Ok(false);
            }
            let id = format!("{algorithm}:{key_id}");
            return Err(UploadKeysError::Conflict { id });
        }
        let key = claimed_key::key(owner, algorithm, key_id);
        let claimed: Option<ClaimedKeyRow> = self.archive().get(key).await?;
        Ok(claimed.is_none_or(|claimed| claimed.hash != Some(essence_hash(json))))
    }

    /// The keys of a pool, oldest first.
    pub(super) async fn waiting(
        &self,
        (user_id, device_id): (&str, &str),
        pool: &PoolRow,
    ) -> Result<Vec<OneTimeKeyRow>, Unavailable> {
        let partition = one_time_key::partition(user_id, device_id);
        Ok(self
            .archive()
            .range(partition, of_pool(pool), 2 * ONE_TIME_KEYS_MAX)
            .await?)
    }
}

/// Where the keys of a pool are.
pub(super) fn of_pool(pool: &PoolRow) -> Range {
    let algorithm = pool.algorithm.as_str();
    let first = pool.first_position.packed();
    Range::at_least([algorithm.into(), first.into()]).up_to([algorithm.into()])
}
