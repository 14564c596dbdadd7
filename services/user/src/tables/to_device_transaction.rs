//! `to_device_transactions`: what a device has sent to devices, so that a repeat is recognised. A
//! row for each part of a request.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, StoreError, Table, Value};

use crate::archive::{Cells, StoredRow};

pub(crate) static TO_DEVICE_TRANSACTIONS: Table = Table {
    name: "to_device_transactions",
    kind: Kind::Stamped,
    partition: &[Column::text("user_id"), Column::text("device_id")],
    clustering: &[
        Column::text("event_type"),
        Column::text("txn_id"),
        Column::bigint("part"),
    ],
    statics: &[],
    values: &[Column::bigint("position")],
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ToDeviceTransactionRow {
    pub(crate) position: Position,
}

pub(crate) fn key(sender: (&str, &str), event_type: &str, txn_id: &str, part: i64) -> Key {
    Key::new(
        [sender.0.into(), sender.1.into()],
        [event_type.into(), txn_id.into(), part.into()],
    )
}

pub(crate) fn values(position: Position) -> Vec<Value> {
    vec![position.packed().into()]
}

impl StoredRow for ToDeviceTransactionRow {
    fn table() -> &'static Table {
        &TO_DEVICE_TRANSACTIONS
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
        fn reads_back(event_type in ".*", txn_id in ".*", part: i64, position: i64) {
            let position = Position::from_packed(position);
            let key = key(("@a:b", "D"), &event_type, &txn_id, part);
            let read = read_back::<ToDeviceTransactionRow>(&key, values(position));
            prop_assert_eq!(read, ToDeviceTransactionRow { position });
        }
    }
}
