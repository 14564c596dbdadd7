//! `room_keys`: the keys in each version of a user's key backup: a row for each session, spread over
//! partitions by room, so that a backup of many rooms is no single large partition.

use hanse_log::Position;
use hanse_proto::user::RoomKey;
use hanse_store::{Column, Key, Kind, StoreError, Table, Value};

use crate::{
    TokenHash,
    archive::{Cells, StoredRow},
};

/// Partitions of one version.
pub(crate) const BUCKETS: i64 = 16;

pub(crate) static ROOM_KEYS: Table = Table {
    name: "room_keys",
    kind: Kind::Stamped,
    partition: &[
        Column::text("user_id"),
        Column::bigint("version"),
        Column::bigint("bucket"),
    ],
    clustering: &[Column::text("room_id"), Column::text("session_id")],
    statics: &[],
    values: &[
        Column::bigint("first_message_index"),
        Column::bigint("forwarded_count"),
        Column::boolean("is_verified"),
        // A JSON object.
        Column::text("session_data"),
        Column::bigint("position"),
    ],
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RoomKeyRow {
    pub(crate) room_id: String,
    pub(crate) session_id: String,
    pub(crate) first_message_index: i64,
    pub(crate) forwarded_count: i64,
    pub(crate) is_verified: bool,
    pub(crate) session_data: String,
    pub(crate) position: Position,
}

/// Where the keys of a room are: all of them in one partition.
pub(crate) fn bucket(room_id: &str) -> i64 {
    let hash = TokenHash::of(room_id).to_vec();
    i64::from(hash.first().copied().unwrap_or_default()) % BUCKETS
}

pub(crate) fn partition(user_id: &str, version: i64, bucket: i64) -> Vec<Value> {
    vec![user_id.into(), version.into(), bucket.into()]
}

pub(crate) fn key(user_id: &str, version: i64, (room_id, session_id): (&str, &str)) -> Key {
    let partition = partition(user_id, version, bucket(room_id));
    Key::new(partition, [room_id.into(), session_id.into()])
}

pub(crate) fn values(room_key: &RoomKey, position: Position) -> Vec<Value> {
    vec![
        room_key.first_message_index.into(),
        room_key.forwarded_count.into(),
        room_key.is_verified.into(),
        room_key.session_data.as_str().into(),
        position.packed().into(),
    ]
}

impl StoredRow for RoomKeyRow {
    fn table() -> &'static Table {
        &ROOM_KEYS
    }

    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            room_id: cells.text("room_id")?,
            session_id: cells.text("session_id")?,
            first_message_index: cells.bigint("first_message_index")?,
            forwarded_count: cells.bigint("forwarded_count")?,
            is_verified: cells.boolean("is_verified")?,
            session_data: cells.text("session_data")?,
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
            room_id in ".*", session_id in ".*", first_message_index: i64, forwarded_count: i64,
            is_verified: bool, session_data in ".*", position: i64,
        ) {
            let position = Position::from_packed(position);
            let key = key("@a:b", 1, (&room_id, &session_id));
            let stored = RoomKey {
                room_id: room_id.clone(), session_id: session_id.clone(), first_message_index,
                forwarded_count, is_verified, session_data: session_data.clone(),
            };
            let columns = values(&stored, position);
            let row = RoomKeyRow {
                room_id, session_id, first_message_index, forwarded_count, is_verified,
                session_data, position,
            };
            prop_assert_eq!(read_back::<RoomKeyRow>(&key, columns), row);
        }
    }

    /// Rows are where this says: a version of the server that computes it differently loses them.
    #[test]
    fn a_room_keeps_its_bucket() {
        let buckets: Vec<i64> = ["!a:x", "!b:x", "!c:x"].map(bucket).to_vec();
        assert_eq!(buckets, [14, 5, 10]);
    }
}
