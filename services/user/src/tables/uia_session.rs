//! `uia_sessions`: interactive-authentication sessions. Never a password: what the client sent is
//! kept without secrets.

use hanse_store::{Column, Key, Kind, StoreError, Table, Value};

use crate::archive::{Cells, StoredRow};

pub(crate) static UIA_SESSIONS: Table = Table {
    name: "uia_sessions",
    kind: Kind::Once,
    partition: &[Column::text("session_id")],
    clustering: &[],
    statics: &[],
    values: &[
        // Empty: nobody is logged in.
        Column::text("user_id"),
        Column::text("endpoint"),
        // A JSON object.
        Column::text("parameters"),
        Column::bigint("expires_at_ms"),
    ],
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct UiaSessionRow {
    pub(crate) user_id: String,
    pub(crate) endpoint: String,
    pub(crate) parameters: String,
    pub(crate) expires_at_ms: i64,
}

pub(crate) fn key(session_id: &str) -> Key {
    Key::partition([session_id.into()])
}

impl UiaSessionRow {
    pub(crate) fn values(self) -> Vec<Value> {
        vec![
            self.user_id.into(),
            self.endpoint.into(),
            self.parameters.into(),
            self.expires_at_ms.into(),
        ]
    }
}

impl StoredRow for UiaSessionRow {
    fn table() -> &'static Table {
        &UIA_SESSIONS
    }

    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            user_id: cells.text("user_id")?,
            endpoint: cells.text("endpoint")?,
            parameters: cells.text("parameters")?,
            expires_at_ms: cells.bigint("expires_at_ms")?,
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
            id in ".*", user_id in ".*", endpoint in ".*", parameters in ".*", expires_at_ms: i64,
        ) {
            let row = UiaSessionRow { user_id, endpoint, parameters, expires_at_ms };
            prop_assert_eq!(read_back::<UiaSessionRow>(&key(&id), row.clone().values()), row);
        }
    }
}
