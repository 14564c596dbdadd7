//! `backup_versions`: the versions of each user's key backup. A version that was removed stays until its
//! keys are gone, and the newest of all for its number, which is never given again.

use hanse_log::Position;
use hanse_proto::user::BackupVersion;
use hanse_store::{Column, Key, Kind, StoreError, Table, Value};

use crate::archive::{Cells, StoredRow};

pub(crate) static BACKUP_VERSIONS: Table = Table {
    name: "backup_versions",
    kind: Kind::Stamped,
    partition: &[Column::text("user_id")],
    clustering: &[Column::bigint("version")],
    statics: &[],
    values: &[
        Column::text("algorithm"),
        // A JSON object.
        Column::text("auth_data"),
        Column::bigint("keys_count"),
        Column::bigint("etag"),
        Column::boolean("removed"),
        Column::bigint("position"),
    ],
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BackupVersionRow {
    pub(crate) version: i64,
    pub(crate) algorithm: String,
    pub(crate) auth_data: String,
    /// Keys in it.
    pub(crate) count: i64,
    pub(crate) etag: i64,
    /// Nobody sees it any more.
    pub(crate) removed: bool,
    pub(crate) position: Position,
}

pub(crate) fn key(user_id: &str, version: i64) -> Key {
    Key::new([user_id.into()], [version.into()])
}

pub(crate) fn values(version: &BackupVersion, position: Position) -> Vec<Value> {
    vec![
        version.algorithm.as_str().into(),
        version.auth_data.as_str().into(),
        version.count.into(),
        version.etag.into(),
        version.removed.into(),
        position.packed().into(),
    ]
}

impl BackupVersionRow {
    /// The whole record, for an entry that changes it.
    pub(crate) fn record(&self) -> BackupVersion {
        BackupVersion {
            version: self.version,
            algorithm: self.algorithm.clone(),
            auth_data: self.auth_data.clone(),
            count: self.count,
            etag: self.etag,
            removed: self.removed,
            forgotten: false,
        }
    }
}

impl StoredRow for BackupVersionRow {
    fn table() -> &'static Table {
        &BACKUP_VERSIONS
    }

    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            version: cells.bigint("version")?,
            algorithm: cells.text("algorithm")?,
            auth_data: cells.text("auth_data")?,
            count: cells.bigint("keys_count")?,
            etag: cells.bigint("etag")?,
            removed: cells.boolean("removed")?,
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
            version: i64, algorithm in ".*", auth_data in ".*", count: i64, etag: i64,
            removed: bool, position: i64,
        ) {
            let position = Position::from_packed(position);
            let row = BackupVersionRow {
                version, algorithm, auth_data, count, etag, removed, position,
            };
            let columns = values(&row.record(), position);
            prop_assert_eq!(read_back::<BackupVersionRow>(&key("@a:b", version), columns), row);
        }
    }
}
