//! `profiles`: the fields of each user's profile.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, StoreError, Table, Value};

use crate::archive::{Cells, StoredRow};

pub(crate) static PROFILES: Table = Table {
    name: "profiles",
    kind: Kind::Stamped,
    partition: &[Column::text("user_id")],
    clustering: &[Column::text("field")],
    statics: &[],
    values: &[
        // JSON.
        Column::text("content"),
        Column::bigint("position"),
    ],
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ProfileRow {
    pub(crate) field: String,
    pub(crate) content: String,
    pub(crate) position: Position,
}

pub(crate) fn key(user_id: &str, field: &str) -> Key {
    Key::new([user_id.into()], [field.into()])
}

pub(crate) fn values(content: &str, position: Position) -> Vec<Value> {
    vec![content.into(), position.packed().into()]
}

impl StoredRow for ProfileRow {
    fn table() -> &'static Table {
        &PROFILES
    }

    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            field: cells.text("field")?,
            content: cells.text("content")?,
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
        fn reads_back(field in ".*", content in ".*", position: i64) {
            let position = Position::from_packed(position);
            let columns = values(&content, position);
            let key = key("@a:b", &field);
            let row = ProfileRow { field, content, position };
            prop_assert_eq!(read_back::<ProfileRow>(&key, columns), row);
        }
    }
}
