//! `signature_feed`: whose keys a user signed, by position in the user's slot: what the user's own
//! devices are told from. One row for each user who was signed, at the newest position.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, StoreError, Table, Value};
use ruma::OwnedUserId;

use crate::archive::{Cells, StoredRow};

pub(crate) static SIGNATURE_FEED: Table = Table {
    name: "signature_feed",
    kind: Kind::Stamped,
    partition: &[Column::text("user_id")],
    clustering: &[Column::bigint("position")],
    statics: &[],
    values: &[Column::text("signed_user_id")],
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SignatureFeedRow {
    pub(crate) position: Position,
    pub(crate) signed_user_id: OwnedUserId,
}

pub(crate) fn key(user_id: &str, position: Position) -> Key {
    Key::new([user_id.into()], [position.packed().into()])
}

pub(crate) fn values(signed_user_id: &str) -> Vec<Value> {
    vec![signed_user_id.into()]
}

impl StoredRow for SignatureFeedRow {
    fn table() -> &'static Table {
        &SIGNATURE_FEED
    }

    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            position: cells.position("position")?,
            signed_user_id: cells.id("signed_user_id")?,
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
        fn reads_back(name in "[a-z]{1,20}", position: i64) {
            let position = Position::from_packed(position);
            let signed = format!("@{name}:b");
            let (key, columns) = (key("@a:b", position), values(&signed));
            let row = SignatureFeedRow { position, signed_user_id: signed.try_into().unwrap() };
            prop_assert_eq!(read_back::<SignatureFeedRow>(&key, columns), row);
        }
    }
}
