//! `spent_login_tokens`: login tokens that were used, by hash, until they would have expired.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, StoreError, Table, Value};

use crate::archive::{Cells, StoredRow};

pub(crate) static SPENT_LOGIN_TOKENS: Table = Table {
    name: "spent_login_tokens",
    kind: Kind::Stamped,
    partition: &[Column::blob("token_hash")],
    clustering: &[],
    statics: &[],
    values: &[Column::bigint("position")],
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SpentLoginTokenRow {
    pub(crate) position: Position,
}

/// The key of a hash in the entry's form.
pub(crate) fn key(hash: &[u8]) -> Key {
    Key::partition([hash.to_vec().into()])
}

impl SpentLoginTokenRow {
    pub(crate) fn values(self) -> Vec<Value> {
        vec![self.position.packed().into()]
    }
}

impl StoredRow for SpentLoginTokenRow {
    fn table() -> &'static Table {
        &SPENT_LOGIN_TOKENS
    }

    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError> {
        Ok(Self {
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
        fn reads_back(hash: [u8; 32], position: i64) {
            let row = SpentLoginTokenRow { position: Position::from_packed(position) };
            prop_assert_eq!(read_back::<SpentLoginTokenRow>(&key(&hash), row.clone().values()), row);
        }
    }
}
