//! `tokens`: whose a token is, by its hash. Written by the log of the slot that owns the user; the
//! hash of a random token belongs to one user for ever.
//!
//! A row stays after its expiry, until the token is revoked: an expired token gets another answer
//! than an unknown one.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, StoreError, Table, Value};
use ruma::{OwnedDeviceId, OwnedUserId};

use crate::{
    TokenHash,
    archive::{Cells, StoredRow},
};

pub(crate) static TOKENS: Table = Table {
    name: "tokens",
    kind: Kind::Stamped,
    partition: &[Column::blob("token_hash")],
    clustering: &[],
    statics: &[],
    values: &[
        Column::text("user_id"),
        Column::text("device_id"),
        // An access token, or else a refresh token.
        Column::boolean("is_access"),
        // Issued by a refresh and not used yet.
        Column::boolean("is_pending"),
        // 0: never.
        Column::bigint("expires_at_ms"),
        Column::bigint("position"),
    ],
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TokenRow {
    pub(crate) user_id: OwnedUserId,
    pub(crate) device_id: OwnedDeviceId,
    pub(crate) access: bool,
    pub(crate) pending: bool,
    pub(crate) expires_at_ms: i64,
    pub(crate) position: Position,
}

pub(crate) fn key(hash: &TokenHash) -> Key {
    Key::partition([hash.bytes().into()])
}

/// The columns of a row whose owner is still in the entry's form.
pub(crate) fn values(
    owner: (&str, &str),
    access: bool,
    pending: bool,
    expires_at_ms: i64,
    position: Position,
) -> Vec<Value> {
    vec![
        owner.0.into(),
        owner.1.into(),
        access.into(),
        pending.into(),
        expires_at_ms.into(),
        position.packed().into(),
    ]
}

impl StoredRow for TokenRow {
    fn table() -> &'static Table {
        &TOKENS
    }

    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            user_id: cells.id("user_id")?,
            device_id: cells.id("device_id")?,
            access: cells.boolean("is_access")?,
            pending: cells.boolean("is_pending")?,
            expires_at_ms: cells.bigint("expires_at_ms")?,
            position: cells.position("position")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ruma::owned_user_id;

    use super::*;
    use crate::tables::read_back;

    proptest! {
        #[test]
        fn reads_back(
            device_id in "\\PC*", access: bool, pending: bool, expires_at_ms: i64, position: i64,
        ) {
            let position = Position::from_packed(position);
            let columns = values(("@a:b", &device_id), access, pending, expires_at_ms, position);
            let row = TokenRow {
                user_id: owned_user_id!("@a:b"),
                device_id: device_id.into(),
                access, pending, expires_at_ms, position,
            };
            prop_assert_eq!(read_back::<TokenRow>(&key(&TokenHash::of("t")), columns), row);
        }
    }
}
