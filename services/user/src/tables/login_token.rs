//! `login_tokens`: whom a login token (`m.login.token`) logs in, by its hash. That it was used is a
//! row of `spent_login_tokens`.

use hanse_store::{Column, Key, Kind, StoreError, Table, Value};
use ruma::OwnedUserId;

use crate::{
    TokenHash,
    archive::{Cells, StoredRow},
};

pub(crate) static LOGIN_TOKENS: Table = Table {
    name: "login_tokens",
    kind: Kind::Once,
    partition: &[Column::blob("token_hash")],
    clustering: &[],
    statics: &[],
    values: &[Column::text("user_id"), Column::bigint("expires_at_ms")],
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LoginTokenRow {
    pub(crate) user_id: OwnedUserId,
    pub(crate) expires_at_ms: i64,
}

pub(crate) fn key(hash: &TokenHash) -> Key {
    Key::partition([hash.bytes().into()])
}

impl LoginTokenRow {
    pub(crate) fn values(&self) -> Vec<Value> {
        vec![self.user_id.as_str().into(), self.expires_at_ms.into()]
    }
}

impl StoredRow for LoginTokenRow {
    fn table() -> &'static Table {
        &LOGIN_TOKENS
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
            let row = LoginTokenRow { user_id, expires_at_ms };
            let key = key(&TokenHash::of(&token));
            prop_assert_eq!(read_back::<LoginTokenRow>(&key, row.values()), row);
        }
    }
}
