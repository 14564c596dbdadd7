//! `room_transactions`: which event a client's transaction id became.

use hanse_proto::room::Transaction;
use hanse_store::{Column, Key, Kind, Row, StoreError, Table};
use serde::{Deserialize, Serialize};

use super::Columns;

/// Partition `(room_id, user_id, device_id)`, clustering `(scope, txn_id)`; expires.
pub(crate) static ROOM_TRANSACTIONS: Table = Table {
    name: "room_transactions",
    kind: Kind::Stamped,
    partition: &[
        Column::text("room_id"),
        Column::text("user_id"),
        Column::text("device_id"),
    ],
    clustering: &[Column::text("scope"), Column::text("txn_id")],
    statics: &[],
    values: &[Column::text("event_id")],
};

/// A key of [`ROOM_TRANSACTIONS`] within a room: the client's idempotency scope ([spec]).
///
/// [spec]: https://spec.matrix.org/v1.16/client-server-api/#transaction-identifiers
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TransactionKey {
    /// Who.
    pub user_id: String,
    /// On which device.
    pub device_id: String,
    /// The endpoint and its parameters but the room, such as `send/m.room.message`.
    pub scope: String,
    /// The transaction id.
    pub txn_id: String,
}

impl TransactionKey {
    pub(crate) fn key(&self, room_id: &str) -> Key {
        let partition = vec![
            room_id.into(),
            self.user_id.as_str().into(),
            self.device_id.as_str().into(),
        ];
        Key::new(
            partition,
            vec![self.scope.as_str().into(), self.txn_id.as_str().into()],
        )
    }

    pub(crate) fn of(transaction: &Transaction) -> Self {
        Self {
            user_id: transaction.user_id.clone(),
            device_id: transaction.device_id.clone(),
            scope: transaction.scope.clone(),
            txn_id: transaction.txn_id.clone(),
        }
    }

    pub(crate) fn read_event_id(row: &Row) -> Result<String, StoreError> {
        Columns::of(&ROOM_TRANSACTIONS, &row.values).text()
    }
}
