//! `staged_events`: events of a state on their way to the owner of their room, who installs it.
//!
//! `Once`: written by whichever process fetched the state, and gone after an hour whatever becomes of
//! it. Nothing in the archives refers to them: the owner copies what it takes into entries.

use hanse_store::{Column, Key, Kind, Row, StoreError, Table, Value};

use super::Columns;

/// Partition `(staged_id, part)`, clustering `number`; expires.
pub(crate) static STAGED_EVENTS: Table = Table {
    name: "staged_events",
    kind: Kind::Once,
    partition: &[Column::text("staged_id"), Column::bigint("part")],
    clustering: &[Column::bigint("number")],
    statics: &[],
    values: &[
        Column::text("event_id"),
        // Its `auth_events`, with spaces between.
        Column::text("auth_events"),
        // 1: it is part of the state; 0: it is only behind it.
        Column::bigint("in_state"),
        // The PDU.
        Column::text("json"),
    ],
};

/// Events of one partition.
const EVENTS_PER_PART: u32 = 512;

/// A row of [`STAGED_EVENTS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StagedRow {
    pub(crate) number: u32,
    pub(crate) event_id: String,
    pub(crate) auth_events: String,
    pub(crate) in_state: bool,
    pub(crate) json: String,
}

/// The partition in which a number stands.
pub(crate) fn part_of(number: u32) -> u32 {
    number / EVENTS_PER_PART
}

impl StagedRow {
    pub(crate) fn partition(staged_id: &str, part: u32) -> Vec<Value> {
        vec![staged_id.into(), i64::from(part).into()]
    }

    pub(crate) fn key(staged_id: &str, number: u32) -> Key {
        let partition = Self::partition(staged_id, part_of(number));
        Key::new(partition, vec![i64::from(number).into()])
    }

    pub(crate) fn values(self) -> Vec<Value> {
        vec![
            self.event_id.into(),
            self.auth_events.into(),
            i64::from(self.in_state).into(),
            self.json.into(),
        ]
    }

    pub(crate) fn read(row: &Row) -> Result<Self, StoreError> {
        let number = Columns::of(&STAGED_EVENTS, &row.clustering).bigint()?;
        let mut columns = Columns::of(&STAGED_EVENTS, &row.values);
        Ok(Self {
            number: u32::try_from(number).unwrap_or(u32::MAX),
            event_id: columns.text()?,
            auth_events: columns.text()?,
            in_state: columns.bigint()? == 1,
            json: columns.text()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reads_back(number: u32, event_id in ".*", auth_events in ".*", in_state: bool, json in ".*") {
            let row = StagedRow { number, event_id, auth_events, in_state, json };
            let stored = Row {
                clustering: StagedRow::key("s", number).clustering,
                statics: Vec::new(),
                values: row.clone().values(),
            };
            prop_assert_eq!(StagedRow::read(&stored).unwrap(), row);
        }
    }
}
