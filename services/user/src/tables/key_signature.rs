//! `key_signatures`: what a user's keys signed after it was uploaded: the user's own keys, and the master
//! keys of others. In the signer's slot: nobody but the signer sees what was signed of others.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, StoreError, Table, Value};

use crate::archive::{Cells, StoredRow};

pub(crate) static KEY_SIGNATURES: Table = Table {
    name: "key_signatures",
    kind: Kind::Stamped,
    partition: &[Column::text("user_id")],
    clustering: &[
        Column::text("signed_user_id"),
        // A device, or a cross-signing key's public part.
        Column::text("key_id"),
        Column::text("signing_key_id"),
    ],
    statics: &[],
    values: &[Column::text("signature"), Column::bigint("position")],
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KeySignatureRow {
    pub(crate) signed_user_id: String,
    pub(crate) key_id: String,
    pub(crate) signing_key_id: String,
    pub(crate) signature: String,
    pub(crate) position: Position,
}

pub(crate) fn key(user_id: &str, signed: (&str, &str), signing_key_id: &str) -> Key {
    let (signed_user_id, key_id) = signed;
    let clustering = [signed_user_id.into(), key_id.into(), signing_key_id.into()];
    Key::new([user_id.into()], clustering)
}

pub(crate) fn values(signature: &str, position: Position) -> Vec<Value> {
    vec![signature.into(), position.packed().into()]
}

impl StoredRow for KeySignatureRow {
    fn table() -> &'static Table {
        &KEY_SIGNATURES
    }

    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            signed_user_id: cells.text("signed_user_id")?,
            key_id: cells.text("key_id")?,
            signing_key_id: cells.text("signing_key_id")?,
            signature: cells.text("signature")?,
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
            signed in ".*", key_id in ".*", signing in ".*", signature in ".*", position: i64,
        ) {
            let position = Position::from_packed(position);
            let columns = values(&signature, position);
            let key = key("@a:b", (&signed, &key_id), &signing);
            let row = KeySignatureRow {
                signed_user_id: signed, key_id, signing_key_id: signing, signature, position,
            };
            prop_assert_eq!(read_back::<KeySignatureRow>(&key, columns), row);
        }
    }
}
