//! Who is online, and in which rooms: an entry wakes just those whom it concerns.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use hanse_log::Position;
use hanse_proto::room::Event;
use hanse_room::UserRoom;
use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId, events::room::member::MembershipState};
use tokio::sync::Notify;

/// A user stays online so long after the last request.
const LINGER: Duration = Duration::from_mins(3);

/// A user with a request under way, or one not long ago.
#[derive(Debug)]
pub(crate) struct OnlineUser {
    pub(crate) user_id: OwnedUserId,
    pub(crate) wake: Notify,
}

/// What is held of an online user.
#[derive(Debug)]
struct Held {
    user: Arc<OnlineUser>,
    rooms: Rooms,
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
        });
        let rooms = Rooms::Loading(Vec::new());
        let held = Held {
            user: Arc::clone(&user),
            rooms,
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

    /// Keeps online users' rooms up to date.
    pub(crate) fn take_membership(
        &mut self,
        room_id: &RoomId,
        event: &Event,
        position: Position,
        awake: &mut Vec<Arc<OnlineUser>>,
    ) {
        let Some(state) = &event.state else { return };
        let Some(member) = state.membership.as_ref().filter(|member| member.local) else {
            return;
        };
        let Some(user) = self.user(&state.state_key) else {
            return;
        };
        let stripped = Some(member.stripped_state.clone()).filter(|text| !text.is_empty());
        let previous = Some(member.previous.clone()).filter(|text| !text.is_empty());
        let room = UserRoom::of_entry(
            room_id.to_owned(),
            (member.membership.as_str().into(), previous.map(Into::into)),
            (event.event_id.as_str(), event.bucket, position),
            stripped,
        );
        if let Some(room) = room {
            self.set_room(&user.user_id.clone(), room);
        }
        awake.push(user);
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

/// Whether an entry of the room may concern a user with this membership.
fn follows(membership: &MembershipState) -> bool {
    matches!(membership, MembershipState::Join)
}

#[cfg(test)]
mod tests {
    use ruma::{room_id, user_id};

    use super::*;

    fn room(membership: MembershipState, seq: i64) -> UserRoom {
        let at = ("$e:localhost", 0, Position::new(seq, 0));
        let room_id = room_id!("!r:localhost").to_owned();
        UserRoom::of_entry(room_id, (membership, None), at, None).unwrap()
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
                5 => room(MembershipState::Join, 5),
                seq => room(MembershipState::Invite, seq),
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
