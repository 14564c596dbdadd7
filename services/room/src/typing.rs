//! Who is typing: ephemeral, in memory, with a time-out; never in the log.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use hanse_runtime::Clock;
use parking_lot::Mutex;
use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use tokio::sync::broadcast;

/// Longest that somebody is typing without saying so again.
const TYPING_MAX: Duration = Duration::from_mins(2);
/// Most users shown as typing in one room.
const USERS_MAX: usize = 100;
/// Notices that a listener may be behind.
const NOTICES_LEN_MAX: usize = 1_024;

/// Who is typing, by room. Clones are the same.
#[derive(Clone, Debug)]
pub struct Typing {
    state: Arc<Mutex<State>>,
    clock: Arc<dyn Clock>,
    notices: broadcast::Sender<OwnedRoomId>,
}

#[derive(Debug, Default)]
struct State {
    rooms: HashMap<OwnedRoomId, RoomTyping>,
    /// The newest change, milliseconds; grows with every change.
    latest_ms: i64,
}

#[derive(Debug, Default)]
struct RoomTyping {
    users: BTreeMap<OwnedUserId, Duration>,
    changed_ms: i64,
}

impl Typing {
    /// Nobody is typing.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let notices = broadcast::channel(NOTICES_LEN_MAX).0;
        Self {
            state: Arc::default(),
            clock,
            notices,
        }
    }

    /// A user started (`Some(how long)`) or stopped typing.
    pub fn set(&self, room_id: &RoomId, user_id: &UserId, typing: Option<Duration>) {
        let now = self.clock.monotonic();
        let mut state = self.state.lock();
        let room = state.rooms.entry(room_id.to_owned()).or_default();
        let changed = match typing {
            Some(timeout) if room.users.len() < USERS_MAX => {
                let until = now + timeout.min(TYPING_MAX);
                room.users.insert(user_id.to_owned(), until).is_none()
            }
            Some(_) => false,
            None => room.users.remove(user_id).is_some(),
        };
        if changed {
            self.mark(&mut state, room_id);
        }
    }

    /// Rooms that changed after a time, with those who type there now.
    pub fn changed_after(&self, after_ms: i64) -> Vec<(OwnedRoomId, Vec<OwnedUserId>)> {
        let state = self.state.lock();
        let changed = state
            .rooms
            .iter()
            .filter(|(_, room)| room.changed_ms > after_ms);
        changed
            .map(|(id, room)| (id.clone(), room.users.keys().cloned().collect()))
            .collect()
    }

    /// When the newest change was, for tokens.
    pub fn latest_ms(&self) -> i64 {
        self.state.lock().latest_ms
    }

    /// Which rooms change, from here on; lossy.
    pub fn subscribe(&self) -> broadcast::Receiver<OwnedRoomId> {
        self.notices.subscribe()
    }

    /// Ends what has timed out, and forgets rooms that changed long ago. To be called each second.
    pub fn sweep(&self) {
        let now = self.clock.monotonic();
        let forget_before = self.clock.now_ms() - 10 * 60 * 1_000;
        let mut state = self.state.lock();
        let mut changed = Vec::new();
        for (room_id, room) in &mut state.rooms {
            let before = room.users.len();
            room.users.retain(|_, until| *until > now);
            if room.users.len() != before {
                changed.push(room_id.clone());
            }
        }
        for room_id in &changed {
            self.mark(&mut state, room_id);
        }
        state
            .rooms
            .retain(|_, room| !room.users.is_empty() || room.changed_ms > forget_before);
    }

    fn mark(&self, state: &mut State, room_id: &RoomId) {
        state.latest_ms = self.clock.now_ms().max(state.latest_ms + 1);
        let latest = state.latest_ms;
        if let Some(room) = state.rooms.get_mut(room_id) {
            room.changed_ms = latest;
        }
        let _ = self.notices.send(room_id.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use hanse_runtime::ManualClock;
    use ruma::{room_id, user_id};

    use super::*;

    #[test]
    fn starts_ends_and_times_out() {
        let clock = ManualClock::at_ms(1_000_000);
        let typing = Typing::new(Arc::new(clock.clone()));
        let (room, user) = (room_id!("!r:localhost"), user_id!("@a:localhost"));
        typing.set(room, user, Some(Duration::from_secs(5)));
        let at = typing.latest_ms();
        assert_eq!(
            typing.changed_after(at - 1),
            [(room.to_owned(), vec![user.to_owned()])]
        );
        typing.set(room, user, Some(Duration::from_secs(5)));
        assert!(
            typing.changed_after(at).is_empty(),
            "typing on is no change"
        );
        clock.advance(Duration::from_secs(6));
        typing.sweep();
        assert_eq!(typing.changed_after(at), [(room.to_owned(), vec![])]);
    }
}
