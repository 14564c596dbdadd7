//! `registration_tokens`: the tokens that allow a registration. One partition, so that they can be
//! listed; each row belongs to the slot of its token.

use hanse_log::Position;
use hanse_proto::user as proto;
use hanse_store::{Column, Key, Kind, StoreError, Table, Value};

use crate::archive::{Cells, StoredRow};

/// The only partition.
pub(crate) const ALL: &str = "all";

pub(crate) static REGISTRATION_TOKENS: Table = Table {
    name: "registration_tokens",
    kind: Kind::Stamped,
    partition: &[Column::text("bucket")],
    clustering: &[Column::text("registration_token")],
    statics: &[],
    values: &[
        // 0: no limit.
        Column::bigint("uses_allowed"),
        Column::bigint("uses"),
        // 0: never.
        Column::bigint("expires_at_ms"),
        Column::bigint("position"),
    ],
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RegistrationTokenRow {
    pub(crate) token: String,
    pub(crate) uses_allowed: i64,
    pub(crate) uses: i64,
    pub(crate) expires_at_ms: i64,
    pub(crate) position: Position,
}

pub(crate) fn key(token: &str) -> Key {
    Key::new([ALL.into()], [token.into()])
}

pub(crate) fn values(token: &proto::RegistrationToken, position: Position) -> Vec<Value> {
    vec![
        token.uses_allowed.into(),
        token.uses.into(),
        token.expires_at_ms.into(),
        position.packed().into(),
    ]
}

impl RegistrationTokenRow {
    pub(crate) fn to_proto(&self) -> proto::RegistrationToken {
        proto::RegistrationToken {
            uses_allowed: self.uses_allowed,
            uses: self.uses,
            expires_at_ms: self.expires_at_ms,
            removed: false,
        }
    }

    /// Whether it allows one more registration.
    pub(crate) fn usable(&self, now_ms: i64) -> bool {
        let left = self.uses_allowed == 0 || self.uses < self.uses_allowed;
        left && (self.expires_at_ms == 0 || now_ms < self.expires_at_ms)
    }
}

impl StoredRow for RegistrationTokenRow {
    fn table() -> &'static Table {
        &REGISTRATION_TOKENS
    }

    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            token: cells.text("registration_token")?,
            uses_allowed: cells.bigint("uses_allowed")?,
            uses: cells.bigint("uses")?,
            expires_at_ms: cells.bigint("expires_at_ms")?,
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
        fn reads_back(token in ".*", numbers: [i64; 3], position: i64) {
            let position = Position::from_packed(position);
            let [uses_allowed, uses, expires_at_ms] = numbers;
            let row = RegistrationTokenRow { token, uses_allowed, uses, expires_at_ms, position };
            let columns = values(&row.to_proto(), position);
            prop_assert_eq!(read_back::<RegistrationTokenRow>(&key(&row.token), columns), row);
        }
    }

    #[test]
    fn usable_until_spent_or_expired() {
        let token = |uses_allowed, uses, expires_at_ms| RegistrationTokenRow {
            token: "t".to_owned(),
            uses_allowed,
            uses,
            expires_at_ms,
            position: Position::START,
        };
        assert!(token(0, 9, 0).usable(5));
        assert!(token(1, 0, 6).usable(5));
        assert!(!token(1, 1, 0).usable(5));
        assert!(!token(0, 0, 5).usable(5));
    }
}
