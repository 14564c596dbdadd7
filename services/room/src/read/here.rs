//! Which rooms are here. A room is from its head on, and for good: what is remembered stays true.

use std::{fmt, sync::Arc};

use hanse_store::StoreError;
use moka::sync::Cache;
use ruma::{OwnedRoomId, RoomId};

use super::RoomReader;
use crate::tables::{HeadRow, ROOM_HEADS};

/// Rooms that are remembered to be here.
const ROOMS_MAX: u64 = 100_000;

/// Rooms that were found to be here.
#[derive(Clone)]
pub(super) struct Here(Arc<Cache<OwnedRoomId, ()>>);

impl Default for Here {
    fn default() -> Self {
        Self(Arc::new(Cache::new(ROOMS_MAX)))
    }
}

impl fmt::Debug for Here {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Here").field(&self.0.entry_count()).finish()
    }
}

impl Here {
    pub(super) fn add(&self, room_id: &RoomId) {
        if !self.0.contains_key(room_id) {
            self.0.insert(room_id.to_owned(), ());
        }
    }
}

impl RoomReader {
    /// Whether a room has a head; one look-up, once for each room of a process.
    pub(super) async fn is_here(&self, room_id: &RoomId) -> Result<bool, StoreError> {
        if self.here.0.contains_key(room_id) {
            return Ok(true);
        }
        let row = self
            .get(&ROOM_HEADS, &HeadRow::key(room_id.as_str()))
            .await?;
        if row.is_some() {
            self.here.add(room_id);
        }
        Ok(row.is_some())
    }
}
