//! `accounts`: one row for each account that was ever made. Rows never go: a deactivated name is
//! not given away again.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, StoreError, Table, Value};

use crate::archive::{Cells, StoredRow};

pub(crate) static ACCOUNTS: Table = Table {
    name: "accounts",
    kind: Kind::Stamped,
    partition: &[Column::text("user_id")],
    clustering: &[],
    statics: &[],
    values: &[
        // PHC string; empty: no login with a password.
        Column::text("password_hash"),
        Column::bigint("created_at_ms"),
        Column::boolean("deactivated"),
        Column::boolean("erased"),
        Column::boolean("is_admin"),
        Column::boolean("is_guest"),
        Column::bigint("position"),
    ],
};

#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "the row's boolean columns")]
pub(crate) struct AccountRow {
    pub(crate) password_hash: String,
    pub(crate) created_at_ms: i64,
    pub(crate) deactivated: bool,
    pub(crate) erased: bool,
    pub(crate) admin: bool,
    pub(crate) guest: bool,
    pub(crate) position: Position,
}

pub(crate) fn key(user_id: &str) -> Key {
    Key::partition([user_id.into()])
}

impl AccountRow {
    pub(crate) fn values(self) -> Vec<Value> {
        vec![
            self.password_hash.into(),
            self.created_at_ms.into(),
            self.deactivated.into(),
            self.erased.into(),
            self.admin.into(),
            self.guest.into(),
            self.position.packed().into(),
        ]
    }
}

impl StoredRow for AccountRow {
    fn table() -> &'static Table {
        &ACCOUNTS
    }

    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            password_hash: cells.text("password_hash")?,
            created_at_ms: cells.bigint("created_at_ms")?,
            deactivated: cells.boolean("deactivated")?,
            erased: cells.boolean("erased")?,
            admin: cells.boolean("is_admin")?,
            guest: cells.boolean("is_guest")?,
            position: cells.position("position")?,
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
        fn reads_back(
            password_hash in ".*", created_at_ms: i64, flags: [bool; 4], position: i64,
        ) {
            let [deactivated, erased, admin, guest] = flags;
            let position = Position::from_packed(position);
            let row = AccountRow {
                password_hash, created_at_ms, deactivated, erased, admin, guest, position,
            };
            prop_assert_eq!(read_back::<AccountRow>(&key("@a:b"), row.clone().values()), row);
        }
    }
}
