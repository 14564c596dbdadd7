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
const LINGER: Duration = Duration::from_secs(180);

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
    Loading(Vec<OwnedRoomId>),
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

    /// Takes in the rooms as read. Returns the rooms whose membership changed meanwhile: to be
    /// read again and handed in by [`Online::reloaded`].
    pub(crate) fn loaded(&mut self, user_id: &UserId, rooms: Vec<UserRoom>) -> Vec<OwnedRoomId> {
        let Some(held) = self.users.get_mut(user_id) else {
            return Vec::new();
        };
        let Rooms::Loading(changed) = &mut held.rooms else {
            return Vec::new();
        };
        let changed = std::mem::take(changed);
        let rooms: HashMap<_, _> = rooms
            .into_iter()
            .map(|room| (room.room_id.clone(), room))
            .collect();
        for (room_id, room) in &rooms {
            if follows(&room.membership) {
                self.listeners
                    .entry(room_id.clone())
                    .or_default()
                    .insert(user_id.to_owned());
            }
        }
        held.rooms = Rooms::Loaded(Arc::new(rooms));
        changed
    }

    /// Takes in one room's membership.
    pub(crate) fn set_room(&mut self, user_id: &UserId, room: UserRoom) {
        let Some(held) = self.users.get_mut(user_id) else {
            return;
        };
        match &mut held.rooms {
            Rooms::Loading(changed) => changed.push(room.room_id),
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
