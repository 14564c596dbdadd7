//! What is remembered of a room whose states are compared, so that comparing again, with a change
//! more, costs counting and no reading.
//!
//! Invariant: only what never changes is remembered: events, and the linear history up to a
//! position that is applied. So it is never wrong, whoever serves the room meanwhile. The one thing
//! that does change an event is a redaction: where it prunes state, the room is forgotten.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use hanse_event::resolve::{AuthIndex, EventNumber, EventSet, KeyNumber};
use hanse_log::Position;
use moka::sync::Cache;
use ruma::{OwnedEventId, OwnedRoomId, RoomId, room_version_rules::RoomVersionRules};
use tokio::sync::Mutex;

use super::{View, unresolvable, window::Window};
use crate::RoomError;

/// Bytes that are kept for all rooms of a process. A room that needs more is compared as if for the
/// first time, each time.
const BYTES_MAX: u64 = 96 * 1_024 * 1_024;
/// Forks come together again, mostly within seconds.
const IDLE_MAX: Duration = Duration::from_mins(10);

/// The rooms that had forks lately.
#[derive(Clone, Debug)]
pub(crate) struct ForkedRooms(Cache<OwnedRoomId, Arc<ForkedRoom>>);

/// One of them.
#[derive(Debug)]
pub(super) struct ForkedRoom {
    /// Bytes, as of the last time that somebody was done with it.
    weight: AtomicU32,
    pub(super) forks: Mutex<Forks>,
}

/// Its events, and where its states can differ.
#[derive(Debug)]
pub(super) struct Forks {
    pub(super) index: AuthIndex,
    pub(super) window: Window,
    /// Events that stand behind no value outside of the window.
    pub(super) uncited: EventSet,
    /// Events that do, and behind the value of which key.
    pub(super) cited: HashMap<EventNumber, KeyNumber>,
    /// How many power levels were asked for.
    pub(super) levels_read: usize,
    /// The room's power levels, oldest first, up to the first that were looked up.
    pub(super) levels: Option<Vec<(Position, OwnedEventId)>>,
}

impl ForkedRooms {
    pub(crate) fn new() -> Self {
        let weight =
            |_: &OwnedRoomId, room: &Arc<ForkedRoom>| room.weight.load(Ordering::Relaxed).max(1);
        let cache = Cache::builder()
            .weigher(weight)
            .max_capacity(BYTES_MAX)
            .time_to_idle(IDLE_MAX)
            .build();
        Self(cache)
    }

    pub(super) fn room(
        &self,
        room_id: &RoomId,
        rules: &'static RoomVersionRules,
    ) -> Result<Arc<ForkedRoom>, RoomError> {
        if let Some(room) = self.0.get(room_id) {
            return Ok(room);
        }
        Ok(Arc::new(ForkedRoom {
            weight: AtomicU32::new(0),
            forks: Mutex::new(Forks::new(rules)?),
        }))
    }

    /// Forgets a room: one of its state events is another from now on.
    pub(crate) fn forget(&self, room_id: &RoomId) {
        self.0.invalidate(room_id);
    }

    /// Keeps a room for the next time, at the weight that it has now.
    pub(super) fn keep(&self, room_id: &RoomId, room: Arc<ForkedRoom>, weight: usize) {
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        room.weight.store(weight, Ordering::Relaxed);
        self.0.insert(room_id.to_owned(), room);
    }
}

impl Forks {
    pub(super) fn new(rules: &'static RoomVersionRules) -> Result<Self, RoomError> {
        Ok(Self {
            index: AuthIndex::new(rules).map_err(unresolvable)?,
            window: Window::at(Position::BEGINNING),
            uncited: EventSet::default(),
            cited: HashMap::new(),
            levels_read: 0,
            levels: None,
        })
    }

    pub(super) fn weight(&self) -> usize {
        self.index.weight() + self.window.weight() + 96 * self.levels.as_ref().map_or(0, Vec::len)
    }

    /// Has a window from a position on. What is known of values outside of it is void with it.
    pub(super) fn begin_window(&mut self, from: Position) {
        self.window = Window::at(from);
        self.uncited = EventSet::default();
        self.cited.clear();
    }

    /// Of each key of the window the event that holds it in a state. All keys of the state's delta
    /// are in the window.
    pub(super) fn laid_out(&mut self, view: &View) -> Vec<Option<EventNumber>> {
        let mut held = self.window.values_at(view.base);
        for ((event_type, state_key), value) in view.delta.iter() {
            let key = self.index.key(event_type, state_key);
            let value = value.as_ref().map(|id| self.index.number(id));
            if let Some(held) = self.window.place(key).and_then(|at| held.get_mut(at)) {
                *held = value;
            }
        }
        held
    }
}
