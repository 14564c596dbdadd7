//! `claimed_keys`: one-time keys that were handed out, by their hashes, for a while: a device that
//! never got the answer to its upload uploads them again, and they are not to be handed out twice.

use hanse_store::{Column, Key, Kind, StoreError, Table, Value};

use crate::{
    TokenHash,
    archive::{Cells, StoredRow},
};

pub(crate) static CLAIMED_KEYS: Table = Table {
    name: "claimed_keys",
    kind: Kind::Stamped,
    partition: &[Column::text("user_id"), Column::text("device_id")],
    clustering: &[Column::text("algorithm"), Column::text("key_id")],
    statics: &[],
    values: &[Column::blob("key_hash")],
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClaimedKeyRow {
    /// Of the key's JSON.
    pub(crate) hash: Option<TokenHash>,
}

pub(crate) fn key(owner: (&str, &str), algorithm: &str, key_id: &str) -> Key {
    Key::new(
        [owner.0.into(), owner.1.into()],
        [algorithm.into(), key_id.into()],
    )
}

pub(crate) fn values(hash: Option<TokenHash>) -> Vec<Value> {
    vec![Value::from(hash.map(|hash| hash.bytes()))]
}

impl StoredRow for ClaimedKeyRow {
    fn table() -> &'static Table {
        &CLAIMED_KEYS
    }

    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            hash: cells.hash("key_hash")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::{option, prelude::*};

    use super::*;
    use crate::tables::read_back;

    proptest! {
        #[test]
        fn reads_back(key_id in ".*", json in option::of(".*")) {
            let hash = json.map(|json| TokenHash::of(&json));
            let key = key(("@a:b", "D"), "signed_curve25519", &key_id);
            prop_assert_eq!(read_back::<ClaimedKeyRow>(&key, values(hash)), ClaimedKeyRow { hash });
        }
    }
}
