//! Who is online, and in which rooms: an entry wakes just those whom it concerns.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use hanse_log::Position;
use hanse_proto::room::{RoomEntry, room_entry::Kind};
use hanse_room::UserRoom;
use parking_lot::Mutex;
use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId, events::room::member::MembershipState};
use tokio::sync::Notify;

/// A user stays online so long after the last request.
const LINGER: Duration = Duration::from_mins(3);

/// A user with a request under way, or one not long ago.
#[derive(Debug)]
pub(crate) struct OnlineUser {
    pub(crate) user_id: OwnedUserId,
    pub(crate) wake: Notify,
    /// For what may wait a little: that others' devices changed.
    pub(crate) nudge: Notify,
    /// The trace of the last entry that woke it; empty: none, or it was told.
    woken_by: Mutex<String>,
}

impl OnlineUser {
    /// An entry with this `traceparent` concerns the user.
    pub(crate) fn woken_by(&self, trace_parent: &str) {
        if !trace_parent.is_empty() {
            trace_parent.clone_into(&mut self.woken_by.lock());
        }
    }

    /// What woke the user, told once.
    pub(crate) fn take_trace(&self) -> String {
        std::mem::take(&mut *self.woken_by.lock())
    }
}

/// What is held of an online user.
#[derive(Debug)]
struct Held {
    user: Arc<OnlineUser>,
    rooms: Rooms,
    /// Up to which position in a room the user's own slot was told of the user's memberships there.
    noticed: HashMap<OwnedRoomId, Position>,
    seen_at: Duration,
}

/// The rooms of an online user.
#[derive(Debug)]
enum Rooms {
    /// Being read; what changes meanwhile is collected.
    Loading(Vec<UserRoom>),
    Loaded(Arc<HashMap<OwnedRoomId, UserRoom>>),
}

/// The online users.
#[derive(Debug, Default)]
pub(crate) struct Online {
    users: HashMap<OwnedUserId, Held>,
    listeners: HashMap<OwnedRoomId, HashSet<OwnedUserId>>,
}

impl Online {
    /// Marks a user as online now. `true`: their rooms must be loaded.
    pub(crate) fn enter(&mut self, user_id: &UserId, now: Duration) -> (Arc<OnlineUser>, bool) {
        if let Some(held) = self.users.get_mut(user_id) {
            held.seen_at = now;
            return (
                Arc::clone(&held.user),
                matches!(held.rooms, Rooms::Loading(_)),
            );
        }
        let user = Arc::new(OnlineUser {
            user_id: user_id.to_owned(),
            wake: Notify::new(),
            nudge: Notify::new(),
            woken_by: Mutex::default(),
        });
        let rooms = Rooms::Loading(Vec::new());
        let held = Held {
            user: Arc::clone(&user),
            rooms,
            noticed: HashMap::new(),
            seen_at: now,
        };
        self.users.insert(user_id.to_owned(), held);
        (user, true)
    }

    /// Takes in the rooms as read, and over them what changed meanwhile: at one moment, since
    /// whoever answers in between would put a newer position beside an older membership.
    pub(crate) fn loaded(&mut self, user_id: &UserId, rooms: Vec<UserRoom>) {
        let Some(held) = self.users.get_mut(user_id) else {
            return;
        };
        let Rooms::Loading(changed) = &mut held.rooms else {
            return;
        };
        let changed = std::mem::take(changed);
        let left = rooms.iter().filter(|room| !follows(&room.membership));
        // What others read from the archives was noticed long ago.
        for room in left {
            notice(&mut held.noticed, room.room_id.clone(), room.position);
        }
        held.rooms = Rooms::Loaded(Arc::default());
        for room in rooms.into_iter().chain(changed) {
            self.set_room(user_id, room);
        }
    }

    /// Takes in one room's membership.
    pub(crate) fn set_room(&mut self, user_id: &UserId, room: UserRoom) {
        let Some(held) = self.users.get_mut(user_id) else {
            return;
        };
        match &mut held.rooms {
            Rooms::Loading(changed) => changed.push(room),
            Rooms::Loaded(rooms) => {
                let newer = rooms
                    .get(&room.room_id)
                    .is_none_or(|old| old.position <= room.position);
                if !newer {
                    return;
                }
                let listeners = self.listeners.entry(room.room_id.clone()).or_default();
                if follows(&room.membership) {
                    listeners.insert(user_id.to_owned());
                } else {
                    listeners.remove(user_id);
                }
                Arc::make_mut(rooms).insert(room.room_id.clone(), room);
            }
        }
    }

    /// The rooms of an online user, if they are loaded.
    pub(crate) fn rooms(&self, user_id: &UserId) -> Option<Arc<HashMap<OwnedRoomId, UserRoom>>> {
        match &self.users.get(user_id)?.rooms {
            Rooms::Loaded(rooms) => Some(Arc::clone(rooms)),
            Rooms::Loading(_) => None,
        }
    }

    /// The user's own slot was told of a membership, which stands at `at` in the room's slot.
    pub(crate) fn noticed(&mut self, user_id: &str, room_id: &str, at: Position) {
        let user = self.user(user_id);
        let held = user.and_then(|user| self.users.get_mut(&user.user_id));
        if let (Some(held), Ok(room_id)) = (held, RoomId::parse(room_id)) {
            notice(&mut held.noticed, room_id, at);
        }
    }

    /// Whether the user has left the room and the own slot was not told of it yet: the notice that is
    /// still to come must not be news.
    pub(crate) fn is_unnoticed(&self, user_id: &UserId, room: &UserRoom) -> bool {
        let noticed = self
            .users
            .get(user_id)
            .and_then(|held| held.noticed.get(&room.room_id));
        !follows(&room.membership) && noticed.is_none_or(|at| *at < room.position)
    }

    /// Keeps online users' rooms up to date.
    pub(crate) fn take_membership(
        &mut self,
        entry: &RoomEntry,
        position: Position,
        awake: &mut Vec<Arc<OnlineUser>>,
    ) {
        for (user_id, room) in memberships_of(entry, position) {
            if let Some(user) = self.user(user_id) {
                self.set_room(&user.user_id.clone(), room);
                awake.push(user);
            }
        }
    }

    /// Whether anybody online is in the room.
    pub(crate) fn listens(&self, room_id: &RoomId) -> bool {
        self.listeners
            .get(room_id)
            .is_some_and(|listeners| !listeners.is_empty())
    }

    /// Adds everybody online who is in the room.
    pub(crate) fn listeners(&self, room_id: &RoomId, awake: &mut Vec<Arc<OnlineUser>>) {
        let listeners = self.listeners.get(room_id).into_iter().flatten();
        awake.extend(listeners.filter_map(|user| self.user(user.as_str())));
    }

    /// An online user.
    pub(crate) fn user(&self, user_id: &str) -> Option<Arc<OnlineUser>> {
        let user_id = <&UserId>::try_from(user_id).ok()?;
        self.users.get(user_id).map(|held| Arc::clone(&held.user))
    }

    /// Forgets who has been away for long.
    pub(crate) fn sweep(&mut self, now: Duration) {
        let Self { users, listeners } = self;
        users.retain(|user_id, held| {
            // Whoever waits on a request holds the user, too.
            let stays =
                now.saturating_sub(held.seen_at) < LINGER || Arc::strong_count(&held.user) > 1;
            if !stays && let Rooms::Loaded(rooms) = &held.rooms {
                for room_id in rooms.keys() {
                    if let Some(listeners) = listeners.get_mut(room_id) {
                        listeners.remove(user_id);
                    }
                }
            }
            stays
        });
        listeners.retain(|_, users| !users.is_empty());
    }
}

/// The local users whose memberships an entry changes, and the memberships from there on.
fn memberships_of(entry: &RoomEntry, position: Position) -> Vec<(&str, UserRoom)> {
    let room_id = || OwnedRoomId::try_from(entry.room_id.as_str()).ok();
    match &entry.kind {
        Some(Kind::StateInstalled(installed)) => {
            let installed = installed.local_memberships.iter().filter_map(|member| {
                let memberships = (member.membership.as_str().into(), None);
                let event = (member.event_id.as_str(), position);
                let stripped = present(&member.stripped_state);
                let room = UserRoom::of_entry_by_id(room_id()?, memberships, event, stripped)?;
                Some((member.user_id.as_str(), room))
            });
            installed.collect()
        }
        Some(Kind::OutOfBandMembership(member)) => {
            let previous = present(&member.previous).map(Into::into);
            let memberships = (member.membership.as_str().into(), previous);
            let event = (member.event_id.as_str(), position);
            let stripped = present(&member.stripped_state);
            let room =
                room_id().and_then(|id| UserRoom::of_entry_by_id(id, memberships, event, stripped));
            room.into_iter()
                .map(|room| (member.user_id.as_str(), room))
                .collect()
        }
        _ => UserRoom::of_entry(entry, position).into_iter().collect(),
    }
}

/// A text, unless it is empty.
fn present(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Positions never go back.
fn notice(noticed: &mut HashMap<OwnedRoomId, Position>, room_id: OwnedRoomId, at: Position) {
    let known = noticed.entry(room_id).or_insert(at);
    *known = at.max(*known);
}

/// Whether an entry of the room may concern a user with this membership.
fn follows(membership: &MembershipState) -> bool {
    matches!(membership, MembershipState::Join)
}

#[cfg(test)]
mod tests {
    use hanse_proto::room::{Event, Membership, StateChange};
    use ruma::{room_id, user_id};

    use super::*;

    fn room(membership: &str, seq: i64) -> UserRoom {
        let membership = Membership {
            membership: membership.to_owned(),
            local: true,
            ..Membership::default()
        };
        let state = StateChange {
            membership: Some(membership),
            ..StateChange::default()
        };
        let event = Event {
            event_id: "$e:localhost".to_owned(),
            state: Some(state),
            ..Event::default()
        };
        let entry = RoomEntry {
            room_id: "!r:localhost".to_owned(),
            kind: Some(Kind::Event(event)),
        };
        UserRoom::of_entry(&entry, Position::new(seq, 0)).unwrap().1
    }

    /// Sabotage: read what changed while loading afterwards, or let the older of two win.
    #[test]
    fn what_changes_while_loading_is_there_at_once() {
        let user = user_id!("@a:localhost");
        for (read, told) in [(3, 5), (5, 3)] {
            let mut online = Online::default();
            let (_, load) = online.enter(user, Duration::ZERO);
            assert!(load && online.rooms(user).is_none());
            let of = |seq| match seq {
                5 => room("join", 5),
                seq => room("invite", seq),
            };
            online.set_room(user, of(told));
            online.loaded(user, vec![of(read)]);
            let rooms = online.rooms(user).unwrap();
            let held = &rooms[room_id!("!r:localhost")];
            assert_eq!(held.membership, MembershipState::Join);
            assert!(online.listens(room_id!("!r:localhost")));
        }
    }
}
