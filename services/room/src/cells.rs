//! One cell for each room in use: whoever changes a room holds its cell's lock.
//!
//! Invariant: there is at most one cell for a room, however small the cache is: two would decide on
//! two memories of the same room.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use moka::sync::Cache;
use parking_lot::Mutex;
use ruma::{OwnedRoomId, RoomId};

use crate::hot::Hot;

/// A room's memory, under the lock of whoever changes it.
pub(crate) type Cell = tokio::sync::Mutex<Option<Hot>>;

/// The cells of this process.
pub(crate) struct Cells {
    /// Every cell that anybody holds.
    live: Mutex<HashMap<OwnedRoomId, Weak<Cell>>>,
    /// The ones that stay though nobody holds them.
    kept: Cache<OwnedRoomId, Arc<Cell>>,
}

impl Cells {
    pub(crate) fn new(rooms_max: u64) -> Self {
        Self {
            live: Mutex::default(),
            kept: Cache::new(rooms_max),
        }
    }

    pub(crate) fn cell(&self, room_id: &RoomId) -> Arc<Cell> {
        if let Some(cell) = self.kept.get(room_id) {
            return cell;
        }
        let cell = self.live_cell(room_id);
        self.kept.insert(room_id.to_owned(), Arc::clone(&cell));
        cell
    }

    fn live_cell(&self, room_id: &RoomId) -> Arc<Cell> {
        let mut live = self.live.lock();
        if let Some(cell) = live.get(room_id).and_then(Weak::upgrade) {
            return cell;
        }
        let dead_at_most = self.kept.entry_count() as usize + 1_024;
        if live.len() > 2 * dead_at_most {
            live.retain(|_, cell| cell.strong_count() > 0);
        }
        let cell = Arc::new(Cell::default());
        live.insert(room_id.to_owned(), Arc::downgrade(&cell));
        cell
    }
}
