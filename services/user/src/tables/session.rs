//! `sessions`: the tokens of each device: the pair in use, and the pair of a refresh until it is
//! first used.

use hanse_log::Position;
use hanse_proto::user as proto;
use hanse_store::{Column, Key, Kind, StoreError, Table, Value};
use ruma::OwnedDeviceId;
use serde::{Deserialize, Serialize};

use crate::{
    TokenHash,
    archive::{Cells, StoredRow},
};

pub(crate) static SESSIONS: Table = Table {
    name: "sessions",
    kind: Kind::Stamped,
    partition: &[Column::text("user_id")],
    clustering: &[Column::text("device_id")],
    statics: &[],
    values: &[
        Column::blob("access_hash"),
        Column::bigint("access_expires_at_ms"),
        Column::blob("refresh_hash"),
        Column::blob("next_access_hash"),
        Column::bigint("next_access_expires_at_ms"),
        Column::blob("next_refresh_hash"),
        Column::bigint("position"),
    ],
};

/// What one answer hands out, as hashes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PairHashes {
    pub(crate) access: TokenHash,
    /// 0: never.
    pub(crate) access_expires_at_ms: i64,
    pub(crate) refresh: Option<TokenHash>,
}

impl PairHashes {
    pub(crate) fn hashes(&self) -> impl Iterator<Item = TokenHash> {
        [Some(self.access), self.refresh].into_iter().flatten()
    }

    pub(crate) fn to_proto(&self) -> proto::TokenPair {
        proto::TokenPair {
            access_token_hash: self.access.to_vec(),
            access_expires_at_ms: self.access_expires_at_ms,
            refresh_token_hash: self.refresh.map(TokenHash::to_vec).unwrap_or_default(),
        }
    }

    /// `None` for a pair without an access token: there is none.
    pub(crate) fn from_proto(pair: &proto::TokenPair) -> Option<Self> {
        Some(Self {
            access: TokenHash::from_bytes(&pair.access_token_hash)?,
            access_expires_at_ms: pair.access_expires_at_ms,
            refresh: TokenHash::from_bytes(&pair.refresh_token_hash),
        })
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SessionRow {
    pub(crate) device_id: OwnedDeviceId,
    pub(crate) current: PairHashes,
    pub(crate) next: Option<PairHashes>,
    pub(crate) position: Position,
}

pub(crate) fn key(user_id: &str, device_id: &str) -> Key {
    Key::new([user_id.into()], [device_id.into()])
}

pub(crate) fn values(
    current: &PairHashes,
    next: Option<&PairHashes>,
    position: Position,
) -> Vec<Value> {
    let hash = |hash: Option<TokenHash>| Value::from(hash.map(|hash| hash.bytes()));
    vec![
        hash(Some(current.access)),
        current.access_expires_at_ms.into(),
        hash(current.refresh),
        hash(next.map(|next| next.access)),
        next.map(|next| next.access_expires_at_ms).into(),
        hash(next.and_then(|next| next.refresh)),
        position.packed().into(),
    ]
}

impl SessionRow {
    /// Every token of the device.
    pub(crate) fn hashes(&self) -> Vec<Vec<u8>> {
        let pairs = [Some(&self.current), self.next.as_ref()]
            .into_iter()
            .flatten();
        pairs
            .flat_map(PairHashes::hashes)
            .map(TokenHash::to_vec)
            .collect()
    }
}

impl StoredRow for SessionRow {
    fn table() -> &'static Table {
        &SESSIONS
    }

    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError> {
        let access = cells.hash("access_hash")?;
        let access =
            access.ok_or_else(|| cells.corrupt("access_hash", &"a session without a token"))?;
        let current = PairHashes {
            access,
            access_expires_at_ms: cells.bigint("access_expires_at_ms")?,
            refresh: cells.hash("refresh_hash")?,
        };
        let next = match cells.hash("next_access_hash")? {
            None => None,
            Some(access) => Some(PairHashes {
                access,
                access_expires_at_ms: cells.bigint("next_access_expires_at_ms")?,
                refresh: cells.hash("next_refresh_hash")?,
            }),
        };
        Ok(Self {
            device_id: cells.id("device_id")?,
            current,
            next,
            position: cells.position("position")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::{option, prelude::*};

    use super::*;
    use crate::tables::read_back;

    fn pair() -> impl Strategy<Value = PairHashes> {
        (any::<u64>(), any::<i64>(), option::of(any::<u64>())).prop_map(|(access, at, refresh)| {
            PairHashes {
                access: TokenHash::of(&access.to_string()),
                access_expires_at_ms: at,
                refresh: refresh.map(|refresh| TokenHash::of(&refresh.to_string())),
            }
        })
    }

    proptest! {
        #[test]
        fn reads_back(
            device_id in "\\PC*", current in pair(), next in option::of(pair()), position: i64,
        ) {
            let position = Position::from_packed(position);
            let columns = values(&current, next.as_ref(), position);
            let key = key("@a:b", &device_id);
            let row = SessionRow { device_id: device_id.into(), current, next, position };
            prop_assert_eq!(read_back::<SessionRow>(&key, columns), row);
        }

        #[test]
        fn a_pair_survives_its_entry(pair in pair()) {
            prop_assert_eq!(PairHashes::from_proto(&pair.to_proto()), Some(pair));
        }
    }
}
