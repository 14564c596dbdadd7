//! `cross_signing_keys`: the master, self-signing and user-signing key of each user.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, StoreError, Table, Value};
use ruma::encryption::KeyUsage;

use crate::archive::{Cells, StoredRow};

pub(crate) static CROSS_SIGNING_KEYS: Table = Table {
    name: "cross_signing_keys",
    kind: Kind::Stamped,
    partition: &[Column::text("user_id")],
    clustering: &[Column::text("key_usage")],
    statics: &[],
    values: &[
        // A JSON object, with the signatures of the user's own keys that it was uploaded with.
        Column::text("json"),
        Column::bigint("position"),
    ],
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CrossSigningKeyRow {
    pub(crate) usage: KeyUsage,
    pub(crate) json: String,
    pub(crate) position: Position,
}

pub(crate) fn key(user_id: &str, usage: &str) -> Key {
    Key::new([user_id.into()], [usage.into()])
}

pub(crate) fn values(json: &str, position: Position) -> Vec<Value> {
    vec![json.into(), position.packed().into()]
}

impl StoredRow for CrossSigningKeyRow {
    fn table() -> &'static Table {
        &CROSS_SIGNING_KEYS
    }

    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            usage: cells.text("key_usage")?.into(),
            json: cells.text("json")?,
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
        fn reads_back(usage in ".*", json in ".*", position: i64) {
            let position = Position::from_packed(position);
            let (key, columns) = (key("@a:b", &usage), values(&json, position));
            let row = CrossSigningKeyRow { usage: usage.into(), json, position };
            prop_assert_eq!(read_back::<CrossSigningKeyRow>(&key, columns), row);
        }
    }
}
