//! `uia_stages`: the stages that an interactive-authentication session has completed.

use hanse_store::{Column, Key, Kind, StoreError, Table, Value};

use crate::archive::{Cells, StoredRow};

pub(crate) static UIA_STAGES: Table = Table {
    name: "uia_stages",
    kind: Kind::Once,
    partition: &[Column::text("session_id")],
    clustering: &[Column::text("stage")],
    statics: &[],
    values: &[
        // What the stage was completed with, where a later call needs it; else empty.
        Column::text("detail"),
    ],
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct UiaStageRow {
    pub(crate) stage: String,
    pub(crate) detail: String,
}

pub(crate) fn key(session_id: &str, stage: &str) -> Key {
    Key::new([session_id.into()], [stage.into()])
}

pub(crate) fn values(detail: &str) -> Vec<Value> {
    vec![detail.into()]
}

impl StoredRow for UiaStageRow {
    fn table() -> &'static Table {
        &UIA_STAGES
    }

    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            stage: cells.text("stage")?,
            detail: cells.text("detail")?,
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
        fn reads_back(id in ".*", stage in ".*", detail in ".*") {
            let (key, columns) = (key(&id, &stage), values(&detail));
            let row = UiaStageRow { stage, detail };
            prop_assert_eq!(read_back::<UiaStageRow>(&key, columns), row);
        }
    }
}
