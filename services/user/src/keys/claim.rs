//! Handing out one-time keys ([spec]).
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#post_matrixclientv3keysclaim

use std::collections::BTreeMap;

use hanse_proto::user::{self as proto, user_entry::Kind};
use ruma::{
    DeviceId, OneTimeKeyAlgorithm, OwnedDeviceId, OwnedOneTimeKeyId, OwnedUserId, UserId,
    encryption::OneTimeKey, serde::Raw,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{check::essence_hash, upload::of_pool};
use crate::{
    Unavailable, Users,
    commands::command,
    config::ttl_ms,
    tables::{
        device_keys::{self, DeviceKeysRow},
        fallback_key::FallbackKeyRow,
        one_time_key::{self, OneTimeKeyRow},
        one_time_key_pool::PoolRow,
    },
};

/// Keys handed out in one batch, and so by one command.
const CLAIMS_AT_ONCE: usize = 20;

/// Hands out keys of some devices; gives those of whom there were any.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ClaimKeys {
    user_id: OwnedUserId,
    wanted: Vec<(OwnedDeviceId, OneTimeKeyAlgorithm)>,
}
command!(ClaimKeys, "user.claim_keys", of user_id,
    Users::claim_keys_here => Vec<ClaimedKey>, Unavailable);

/// A key that was handed out.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ClaimedKey {
    device_id: OwnedDeviceId,
    id: String,
    json: String,
}

/// A key, by its id.
type Claimed = BTreeMap<OwnedOneTimeKeyId, Raw<OneTimeKey>>;

/// What is handed out: its id, the key, and the entry that says so, if there must be one.
struct Handout {
    id: String,
    json: String,
    kind: Option<Kind>,
}

impl Users {
    /// Hands out a one-time key of each of these devices of a local user: each to one claim. Where
    /// none is left, the fallback key; devices that have none are left out, as are those that it could not
    /// come to after others.
    pub async fn claim_keys(
        &self,
        user_id: &UserId,
        wanted: &BTreeMap<OwnedDeviceId, OneTimeKeyAlgorithm>,
    ) -> Result<BTreeMap<OwnedDeviceId, Claimed>, Unavailable> {
        let wanted: Vec<_> = wanted.iter().collect();
        let mut claimed = BTreeMap::new();
        for some in wanted.chunks(CLAIMS_AT_ONCE) {
            let wanted = some
                .iter()
                .map(|(id, algorithm)| ((*id).clone(), (*algorithm).clone()));
            let claim = ClaimKeys {
                user_id: user_id.to_owned(),
                wanted: wanted.collect(),
            };
            let keys = match self.routed(claim).await {
                Ok(keys) => keys,
                Err(unavailable) if claimed.is_empty() => return Err(unavailable),
                // What was handed out before is nobody else's any more.
                Err(_) => break,
            };
            for key in keys {
                let device_id = key.device_id;
                claimed.extend(presented(key.id, key.json).map(|key| (device_id, key)));
            }
        }
        Ok(claimed)
    }

    async fn claim_keys_here(&self, claim: &ClaimKeys) -> Result<Vec<ClaimedKey>, Unavailable> {
        let user_id = &claim.user_id;
        let turn = self.user_turn(user_id).await?;
        let (mut kinds, mut claimed) = (Vec::new(), Vec::new());
        for (device_id, algorithm) in &claim.wanted {
            let Some(handout) = self.handout(user_id, device_id, algorithm).await? else {
                continue;
            };
            kinds.extend(handout.kind);
            claimed.push(ClaimedKey {
                device_id: device_id.clone(),
                id: handout.id,
                json: handout.json,
            });
        }
        if !kinds.is_empty() {
            self.commit_user(&turn, kinds).await?;
        }
        Ok(claimed)
    }

    async fn handout(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        algorithm: &OneTimeKeyAlgorithm,
    ) -> Result<Option<Handout>, Unavailable> {
        let key = device_keys::key(user_id.as_str(), device_id.as_str());
        let device: Option<DeviceKeysRow> = self.archive().get(key).await?;
        if device.is_none() && self.device_row(user_id, device_id).await?.is_none() {
            return Ok(None);
        }
        let pools = self.pools(user_id, device_id).await?;
        let algorithm = algorithm.as_str();
        let pool = pools.iter().find(|pool| pool.algorithm == algorithm);
        if let Some(pool) = pool.filter(|pool| pool.count > 0)
            && let Some(oldest) = self.oldest(user_id, device_id, pool).await?
        {
            return Ok(Some(self.one_time(device_id, pool, oldest)));
        }
        let fallbacks = self.fallbacks(user_id, device_id).await?;
        let fallback = fallbacks.into_iter().find(|row| row.algorithm == algorithm);
        Ok(fallback.map(|row| fallen_back(device_id, row)))
    }

    async fn oldest(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        pool: &PoolRow,
    ) -> Result<Option<OneTimeKeyRow>, Unavailable> {
        let partition = one_time_key::partition(user_id.as_str(), device_id.as_str());
        let first: Vec<OneTimeKeyRow> = self.archive().range(partition, of_pool(pool), 1).await?;
        Ok(first.into_iter().next())
    }

    fn one_time(&self, device_id: &DeviceId, pool: &PoolRow, row: OneTimeKeyRow) -> Handout {
        let claimed = proto::OneTimeKeyClaimed {
            device_id: device_id.to_string(),
            algorithm: row.algorithm.clone(),
            key_id: row.key_id.clone(),
            key_position: row.position.packed(),
            count: pool.count - 1,
            key_hash: essence_hash(&row.json).to_vec(),
            expires_at_ms: self.now_ms() + ttl_ms(self.inner.config.claimed_key_ttl),
        };
        Handout {
            id: format!("{}:{}", row.algorithm, row.key_id),
            json: row.json,
            kind: Some(Kind::OneTimeKeyClaimed(claimed)),
        }
    }
}

/// The fallback key; the first time, that it is used is written down.
fn fallen_back(device_id: &DeviceId, row: FallbackKeyRow) -> Handout {
    let used = proto::FallbackKey {
        device_id: device_id.to_string(),
        algorithm: row.algorithm.clone(),
        key_id: row.key_id.clone(),
        json: row.json.clone(),
        used: true,
    };
    Handout {
        id: format!("{}:{}", row.algorithm, row.key_id),
        json: row.json,
        kind: (!row.used).then_some(Kind::FallbackKey(used)),
    }
}

/// `None` if the rows are corrupt: they were checked when they came in.
fn presented(id: String, json: String) -> Option<Claimed> {
    let id = OwnedOneTimeKeyId::try_from(id).ok()?;
    let key = Raw::from_json(RawValue::from_string(json).ok()?);
    Some(BTreeMap::from([(id, key)]))
}
