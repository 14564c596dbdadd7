//! A room's state: current values, versions by position, and the change feed.
//!
//! All three are sharded, so that a room of 100,000 members has no giant partition: shard 0 holds
//! everything but memberships, which spread over the others by user.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, Row, StoreError, Table, Value};

use super::Columns;

/// Partition `(room_id, shard)`, clustering `(event_type, state_key)`: the current state.
pub(crate) static ROOM_STATE: Table = Table {
    name: "room_state",
    kind: Kind::Stamped,
    partition: &[Column::text("room_id"), Column::bigint("shard")],
    clustering: &[Column::text("event_type"), Column::text("state_key")],
    statics: &[],
    values: &[
        Column::bigint("position"),
        Column::bigint("bucket"),
        Column::text("event_id"),
        Column::text("membership"),
    ],
};

/// The same with `position` as last clustering column: every value that a key has had.
pub(crate) static ROOM_STATE_VERSIONS: Table = Table {
    name: "room_state_versions",
    kind: Kind::Stamped,
    partition: &[Column::text("room_id"), Column::bigint("shard")],
    clustering: &[
        Column::text("event_type"),
        Column::text("state_key"),
        Column::bigint("position"),
    ],
    statics: &[],
    values: &[
        Column::bigint("bucket"),
        Column::text("event_id"),
        Column::text("membership"),
    ],
};

/// Partition `(room_id, bucket)`, clustering `position`: what changed, in order. Most events stand in
/// `room_events` under the same key; where state resolution gave the key another value, that event
/// stands elsewhere, or there is none (empty).
pub(crate) static ROOM_STATE_CHANGES: Table = Table {
    name: "room_state_changes",
    kind: Kind::Stamped,
    partition: &[Column::text("room_id"), Column::bigint("bucket")],
    clustering: &[Column::bigint("position")],
    statics: &[],
    values: &[
        Column::text("event_type"),
        Column::text("state_key"),
        Column::text("event_id"),
        Column::text("previous_event_id"),
    ],
};

/// Shards over which memberships spread; shard 0 besides.
pub(crate) const MEMBER_SHARDS: i64 = 16;

/// The shard of a state key.
pub(crate) fn shard_of(event_type: &str, state_key: &str) -> i64 {
    if event_type != "m.room.member" {
        return 0;
    }
    1 + (xxhash_rust::xxh3::xxh3_64(state_key.as_bytes()) % MEMBER_SHARDS as u64) as i64
}

/// In the place of a bucket: the event does not stand where the value took effect, and is looked up
/// by its id. So it is with values that state resolution brought back.
pub(crate) const BY_ID: i64 = -1;

/// A row of [`ROOM_STATE`] or [`ROOM_STATE_VERSIONS`]. One whose `event_id` is empty says that the
/// key has no value from its position on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StateRow {
    pub(crate) event_type: String,
    pub(crate) state_key: String,
    pub(crate) position: Position,
    pub(crate) bucket: i64,
    pub(crate) event_id: String,
    /// Set for memberships.
    pub(crate) membership: Option<String>,
}

impl StateRow {
    pub(crate) fn partition(room_id: &str, shard: i64) -> Vec<Value> {
        vec![room_id.into(), shard.into()]
    }

    pub(crate) fn key(room_id: &str, event_type: &str, state_key: &str) -> Key {
        let partition = Self::partition(room_id, shard_of(event_type, state_key));
        Key::new(partition, vec![event_type.into(), state_key.into()])
    }

    pub(crate) fn version_key(&self, room_id: &str) -> Key {
        let partition = Self::partition(room_id, shard_of(&self.event_type, &self.state_key));
        let position = self.position.packed();
        let clustering = vec![
            self.event_type.as_str().into(),
            self.state_key.as_str().into(),
            position.into(),
        ];
        Key::new(partition, clustering)
    }

    pub(crate) fn version_values(&self) -> Vec<Value> {
        vec![
            self.bucket.into(),
            self.event_id.clone().into(),
            self.membership.clone().into(),
        ]
    }

    pub(crate) fn values(self) -> Vec<Value> {
        vec![
            self.position.packed().into(),
            self.bucket.into(),
            self.event_id.into(),
            self.membership.into(),
        ]
    }

    pub(crate) fn read(row: &Row) -> Result<Self, StoreError> {
        let mut key = Columns::of(&ROOM_STATE, &row.clustering);
        let mut columns = Columns::of(&ROOM_STATE, &row.values);
        Ok(Self {
            event_type: key.text()?,
            state_key: key.text()?,
            position: Position::from_packed(columns.bigint()?),
            bucket: columns.bigint()?,
            event_id: columns.text()?,
            membership: columns.text_or_null()?,
        })
    }

    pub(crate) fn read_version(row: &Row) -> Result<Self, StoreError> {
        let mut key = Columns::of(&ROOM_STATE_VERSIONS, &row.clustering);
        let mut columns = Columns::of(&ROOM_STATE_VERSIONS, &row.values);
        Ok(Self {
            event_type: key.text()?,
            state_key: key.text()?,
            position: Position::from_packed(key.bigint()?),
            bucket: columns.bigint()?,
            event_id: columns.text()?,
            membership: columns.text_or_null()?,
        })
    }
}

/// A row of [`ROOM_STATE_CHANGES`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChangeRow {
    pub(crate) position: Position,
    pub(crate) event_type: String,
    pub(crate) state_key: String,
    pub(crate) event_id: String,
    pub(crate) previous_event_id: Option<String>,
}

impl ChangeRow {
    pub(crate) fn partition(room_id: &str, bucket: i64) -> Vec<Value> {
        vec![room_id.into(), bucket.into()]
    }

    pub(crate) fn key(&self, room_id: &str, bucket: i64) -> Key {
        Key::new(
            Self::partition(room_id, bucket),
            vec![self.position.packed().into()],
        )
    }

    pub(crate) fn values(self) -> Vec<Value> {
        vec![
            self.event_type.into(),
            self.state_key.into(),
            self.event_id.into(),
            self.previous_event_id.into(),
        ]
    }

    pub(crate) fn read(row: &Row) -> Result<Self, StoreError> {
        let position = Columns::of(&ROOM_STATE_CHANGES, &row.clustering).bigint()?;
        let mut columns = Columns::of(&ROOM_STATE_CHANGES, &row.values);
        Ok(Self {
            position: Position::from_packed(position),
            event_type: columns.text()?,
            state_key: columns.text()?,
            event_id: columns.text()?,
            previous_event_id: columns.text_or_null()?,
        })
    }
}
