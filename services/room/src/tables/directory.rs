//! `published_rooms` and `room_aliases`: what the public directory and a room's own list of
//! aliases are made of.

use hanse_store::{Column, Key, Kind, Row, StoreError, Table, Value};

use super::Columns;

/// Partition `shard` (by room, so that one partition stays small), clustering `room_id`.
pub(crate) static PUBLISHED_ROOMS: Table = Table {
    name: "published_rooms",
    kind: Kind::Stamped,
    partition: &[Column::bigint("shard")],
    clustering: &[Column::text("room_id")],
    statics: &[],
    values: &[Column::bigint("position")],
};

/// Partition `room_id`, clustering `alias`. Written by the room's slot, on relay from the alias's.
pub(crate) static ROOM_ALIASES: Table = Table {
    name: "room_aliases",
    kind: Kind::Stamped,
    partition: &[Column::text("room_id")],
    clustering: &[Column::text("alias")],
    statics: &[],
    values: &[Column::bigint("position")],
};

/// Keys of [`PUBLISHED_ROOMS`].
pub(crate) struct PublishedRow;

impl PublishedRow {
    /// Partitions of the directory.
    pub(crate) const SHARDS: i64 = 8;

    pub(crate) fn partition(shard: i64) -> Vec<Value> {
        vec![shard.into()]
    }

    pub(crate) fn key(room_id: &str) -> Key {
        let shard = xxhash_rust::xxh3::xxh3_64(room_id.as_bytes()) % Self::SHARDS as u64;
        Key::new(Self::partition(shard as i64), vec![room_id.into()])
    }

    pub(crate) fn read_room_id(row: &Row) -> Result<String, StoreError> {
        Columns::of(&PUBLISHED_ROOMS, &row.clustering).text()
    }
}

/// Keys of [`ROOM_ALIASES`].
pub(crate) struct RoomAliasRow;

impl RoomAliasRow {
    pub(crate) fn partition(room_id: &str) -> Vec<Value> {
        vec![room_id.into()]
    }

    pub(crate) fn key(room_id: &str, alias: &str) -> Key {
        Key::new(Self::partition(room_id), vec![alias.into()])
    }

    pub(crate) fn read_alias(row: &Row) -> Result<String, StoreError> {
        Columns::of(&ROOM_ALIASES, &row.clustering).text()
    }
}
