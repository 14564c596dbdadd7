//! The keys of devices: identity keys, one-time keys, fallback keys ([spec]).
//!
//! Invariant: a one-time key is handed out at most once: what hands it out is an entry of the
//! user's slot, decided in the user's turn and answered when it is applied.
//! Invariant: keys go before their device does, so that a new device of the same name finds none.
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#key-management-api

mod check;
mod claim;
mod query;
mod remove;
mod upload;

use std::collections::BTreeMap;

use hanse_log::Position;
use hanse_store::Range;
use ruma::{DeviceId, OneTimeKeyAlgorithm, UserId};

pub use self::{
    check::BadKeys,
    query::UserKeys,
    upload::{KeysUpload, UploadKeysError},
};
pub(crate) use self::{check::CheckedKeys, claim::ClaimKeys, upload::UploadKeys};
use crate::{
    Unavailable, Users,
    tables::{
        device_change::{self, DeviceChangeRow},
        fallback_key::FallbackKeyRow,
        one_time_key_pool::PoolRow,
    },
};

/// Most algorithms that a device has one-time keys of.
const ALGORITHMS_MAX: usize = 16;
/// Most one-time keys of one algorithm that a device can have waiting.
const ONE_TIME_KEYS_MAX: usize = 1_000;

/// What a device is told of its own keys with every sync.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyStatus {
    /// One-time keys left, by algorithm.
    pub one_time_keys: BTreeMap<OneTimeKeyAlgorithm, u64>,
    /// Algorithms whose fallback key was not handed out yet.
    pub unused_fallbacks: Vec<OneTimeKeyAlgorithm>,
}

impl Users {
    /// What a device has left. The algorithm that clients use is always there, so that they know
    /// that they are to upload some.
    pub async fn key_status(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<KeyStatus, Unavailable> {
        let one_time_keys = counts(&self.pools(user_id, device_id).await?);
        let fallbacks = self.fallbacks(user_id, device_id).await?;
        let unused = fallbacks.into_iter().filter(|row| !row.used);
        Ok(KeyStatus {
            one_time_keys,
            unused_fallbacks: unused.map(|row| row.algorithm.into()).collect(),
        })
    }

    /// Whether a user's devices or their keys changed last after one position of the user's slot
    /// and not after another.
    pub async fn devices_changed(
        &self,
        user_id: &UserId,
        after: Position,
        up_to: Position,
    ) -> Result<bool, Unavailable> {
        let key = device_change::key(user_id.as_str());
        let row: Option<DeviceChangeRow> = self.archive().get(key).await?;
        Ok(row.is_some_and(|row| row.position > after && row.position <= up_to))
    }

    async fn pools(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<Vec<PoolRow>, Unavailable> {
        let range = Range::prefix([device_id.as_str().into()]);
        let partition = [user_id.as_str().into()];
        Ok(self
            .archive()
            .range(partition, range, ALGORITHMS_MAX)
            .await?)
    }

    async fn fallbacks(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<Vec<FallbackKeyRow>, Unavailable> {
        let range = Range::prefix([device_id.as_str().into()]);
        let partition = [user_id.as_str().into()];
        Ok(self
            .archive()
            .range(partition, range, ALGORITHMS_MAX)
            .await?)
    }
}

fn counts(pools: &[PoolRow]) -> BTreeMap<OneTimeKeyAlgorithm, u64> {
    let mut counts = BTreeMap::from([(OneTimeKeyAlgorithm::SignedCurve25519, 0)]);
    for pool in pools {
        let count = u64::try_from(pool.count).unwrap_or_default();
        counts.insert(pool.algorithm.as_str().into(), count);
    }
    counts
}
