//! The public directory and a room's aliases.

use hanse_store::{Range, StoreError};
use ruma::{OwnedRoomAliasId, OwnedRoomId, RoomId};

use super::RoomReader;
use crate::tables::{PUBLISHED_ROOMS, PublishedRow, ROOM_ALIASES, RoomAliasRow, corrupt};

impl RoomReader {
    /// Whether a room is published.
    pub async fn is_published(&self, room_id: &RoomId) -> Result<bool, StoreError> {
        let key = PublishedRow::key(room_id.as_str());
        Ok(self.get(&PUBLISHED_ROOMS, &key).await?.is_some())
    }

    /// Every published room.
    pub async fn published_rooms(&self) -> Result<Vec<OwnedRoomId>, StoreError> {
        let mut rooms = Vec::new();
        for shard in 0..PublishedRow::SHARDS {
            let partition = PublishedRow::partition(shard);
            for row in self.all(&PUBLISHED_ROOMS, partition, Range::all()).await? {
                let room_id = PublishedRow::read_room_id(&row)?;
                rooms.push(
                    room_id
                        .try_into()
                        .map_err(|e| corrupt(&PUBLISHED_ROOMS, e))?,
                );
            }
        }
        Ok(rooms)
    }

    /// A room's local aliases.
    pub async fn aliases(&self, room_id: &RoomId) -> Result<Vec<OwnedRoomAliasId>, StoreError> {
        let partition = RoomAliasRow::partition(room_id.as_str());
        let rows = self.all(&ROOM_ALIASES, partition, Range::all()).await?;
        rows.iter()
            .map(|row| {
                let alias = RoomAliasRow::read_alias(row)?;
                alias.try_into().map_err(|e| corrupt(&ROOM_ALIASES, e))
            })
            .collect()
    }
}
