//! `openid_tokens`: whose an `OpenID` token is, by its hash.

use hanse_store::{Column, Key, Kind, StoreError, Table, Value};
use ruma::OwnedUserId;

use crate::{
    TokenHash,
    archive::{Cells, StoredRow},
};

pub(crate) static OPENID_TOKENS: Table = Table {
    name: "openid_tokens",
    kind: Kind::Once,
    partition: &[Column::blob("token_hash")],
    clustering: &[],
    statics: &[],
    values: &[Column::text("user_id"), Column::bigint("expires_at_ms")],
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OpenIdTokenRow {
    pub(crate) user_id: OwnedUserId,
    pub(crate) expires_at_ms: i64,
}

pub(crate) fn key(hash: &TokenHash) -> Key {
    Key::partition([hash.bytes().into()])
}

impl OpenIdTokenRow {
    pub(crate) fn values(&self) -> Vec<Value> {
        vec![self.user_id.as_str().into(), self.expires_at_ms.into()]
    }
}

impl StoredRow for OpenIdTokenRow {
    fn table() -> &'static Table {
        &OPENID_TOKENS
    }

    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            user_id: cells.id("user_id")?,
            expires_at_ms: cells.bigint("expires_at_ms")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tables::read_back;

    proptest! {
        #[test]
        fn reads_back(token in ".*", user in "[a-z]{1,9}", expires_at_ms: i64) {
            let user_id = format!("@{user}:b").try_into().unwrap();
            let row = OpenIdTokenRow { user_id, expires_at_ms };
            let key = key(&TokenHash::of(&token));
            prop_assert_eq!(read_back::<OpenIdTokenRow>(&key, row.values()), row);
        }
    }
}
