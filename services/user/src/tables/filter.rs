//! `filters`: sync filters, by an id that is a hash of their text. Never changed, never deleted.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, StoreError, Table, Value};

use crate::archive::{Cells, StoredRow};

pub(crate) static FILTERS: Table = Table {
    name: "filters",
    kind: Kind::Stamped,
    partition: &[Column::text("user_id")],
    clustering: &[Column::text("filter_id")],
    statics: &[],
    values: &[
        // JSON.
        Column::text("definition"),
        Column::bigint("position"),
    ],
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FilterRow {
    pub(crate) filter_id: String,
    pub(crate) definition: String,
    pub(crate) position: Position,
}

pub(crate) fn key(user_id: &str, filter_id: &str) -> Key {
    Key::new([user_id.into()], [filter_id.into()])
}

pub(crate) fn values(definition: &str, position: Position) -> Vec<Value> {
    vec![definition.into(), position.packed().into()]
}

impl StoredRow for FilterRow {
    fn table() -> &'static Table {
        &FILTERS
    }

    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            filter_id: cells.text("filter_id")?,
            definition: cells.text("definition")?,
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
        fn reads_back(filter_id in ".*", definition in ".*", position: i64) {
            let position = Position::from_packed(position);
            let columns = values(&definition, position);
            let key = key("@a:b", &filter_id);
            let row = FilterRow { filter_id, definition, position };
            prop_assert_eq!(read_back::<FilterRow>(&key, columns), row);
        }
    }
}
