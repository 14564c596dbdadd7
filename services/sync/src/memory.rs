//! What the worker remembers of the newest changes, so that an online user needs no read.
//!
//! Everything in here is a cache with a floor: asked about a time before its floor it says so, and
//! the caller reads the archives.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use hanse_event::Pdu;
use hanse_log::{AppliedBatch, Position, Slot, SlotMap};
use hanse_proto::{
    log::entry::Kind,
    room::{Event, EventStatus, MemberDevicesChanged, Redacted, RoomEntry, room_entry},
    user::{UserEntry, user_entry},
};
use hanse_room::TimelineEvent;
use ruma::{OwnedEventId, OwnedRoomId, RoomId, UserId};

use crate::online::{Online, OnlineUser};

/// Events kept of a room that an online user is in.
const EVENTS_MAX: usize = 100;
/// Rooms and users of which the last change is known.
const TRACKED_MAX: usize = 200_000;

/// The newest of one room.
#[derive(Debug, Default)]
struct RecentRoom {
    /// The last entry of any kind.
    last: Position,
    /// The last event.
    last_event: Position,
    /// The last change of a membership, or of whether the room is encrypted.
    last_member: Position,
    /// The last time that members' devices changed.
    last_devices: Position,
    /// Events after this are all in `events`.
    floor: Position,
    events: VecDeque<Arc<TimelineEvent>>,
}

/// What is remembered of one slot.
#[derive(Debug)]
struct RecentSlot {
    /// Everything up to here is in this memory, or below its floor.
    seen: Position,
    /// What is not tracked did not change after this.
    floor: Position,
}

/// The memory. Behind one lock: it is changed for each batch, briefly, and read for each answer.
#[derive(Debug)]
pub(crate) struct Memory {
    slots: Vec<RecentSlot>,
    rooms: HashMap<OwnedRoomId, RecentRoom>,
    /// The last change of each user's own data.
    users: HashMap<String, Position>,
    pub(crate) online: Online,
}

/// Whether something changed after a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    No,
    Yes,
    /// Too long ago to be known here.
    Unknown,
}

impl Memory {
    pub(crate) fn new(positions: impl Iterator<Item = (Slot, Position)>, map: SlotMap) -> Self {
        let start = |_| RecentSlot {
            seen: Position::START,
            floor: Position::START,
        };
        let mut slots: Vec<_> = map.slots().map(start).collect();
        for (slot, position) in positions {
            if let Some(recent) = slots.get_mut(slot.0 as usize) {
                *recent = RecentSlot {
                    seen: position,
                    floor: position,
                };
            }
        }
        Self {
            slots,
            rooms: HashMap::new(),
            users: HashMap::new(),
            online: Online::default(),
        }
    }

    /// The position up to which a slot may be shown by this worker.
    pub(crate) fn seen(&self, slot: Slot) -> Position {
        self.slots
            .get(slot.0 as usize)
            .map_or(Position::START, |recent| recent.seen)
    }

    /// Whether a room has any entry after a position of its slot.
    pub(crate) fn room_changed(&self, room_id: &RoomId, slot: Slot, after: Position) -> Changed {
        self.changed(self.rooms.get(room_id).map(|room| room.last), slot, after)
    }

    /// Whether a room has an event after a position of its slot.
    pub(crate) fn events_changed(&self, room_id: &RoomId, slot: Slot, after: Position) -> Changed {
        self.changed(
            self.rooms.get(room_id).map(|room| room.last_event),
            slot,
            after,
        )
    }

    /// Whether a room's memberships changed after a position of its slot.
    pub(crate) fn members_changed(&self, room_id: &RoomId, slot: Slot, after: Position) -> Changed {
        let last = self.rooms.get(room_id).map(|room| room.last_member);
        self.changed(last, slot, after)
    }

    /// Whether members' devices changed after a position of the room's slot.
    pub(crate) fn devices_changed(&self, room_id: &RoomId, slot: Slot, after: Position) -> Changed {
        let last = self.rooms.get(room_id).map(|room| room.last_devices);
        self.changed(last, slot, after)
    }

    /// Whether a user's own data changed after a position of the user's slot.
    pub(crate) fn user_changed(&self, user_id: &UserId, slot: Slot, after: Position) -> Changed {
        self.changed(self.users.get(user_id.as_str()).copied(), slot, after)
    }

    fn changed(&self, last: Option<Position>, slot: Slot, after: Position) -> Changed {
        let floor = self
            .slots
            .get(slot.0 as usize)
            .map_or(Position::END, |recent| recent.floor);
        match last {
            Some(last) if last > after => Changed::Yes,
            _ if after >= floor => Changed::No,
            _ => Changed::Unknown,
        }
    }

    /// A room's events in `(after, up_to]`, if all of them are remembered.
    pub(crate) fn events(
        &self,
        room_id: &RoomId,
        slot: Slot,
        after: Position,
        up_to: Position,
    ) -> Option<Vec<Arc<TimelineEvent>>> {
        let Some(room) = self.rooms.get(room_id) else {
            let unchanged = self.room_changed(room_id, slot, after) == Changed::No;
            return unchanged.then(Vec::new);
        };
        let within =
            |event: &&Arc<TimelineEvent>| event.position > after && event.position <= up_to;
        (room.floor <= after).then(|| room.events.iter().filter(within).cloned().collect())
    }

    /// Takes a batch in; returns whom to wake.
    pub(crate) fn take(&mut self, batch: &AppliedBatch) -> Vec<Arc<OnlineUser>> {
        let mut awake = Vec::new();
        for (position, entry) in batch.positioned() {
            match &entry.kind {
                Some(Kind::Room(room)) => self.take_room(room, position, batch.slot, &mut awake),
                Some(Kind::User(user)) => self.take_user(user, position, &mut awake),
                Some(Kind::Name(_)) | None => {}
            }
        }
        if let Some(recent) = self.slots.get_mut(batch.slot.0 as usize) {
            recent.seen = batch.end();
        }
        self.bound();
        awake
    }

    fn take_room(
        &mut self,
        entry: &RoomEntry,
        position: Position,
        slot: Slot,
        awake: &mut Vec<Arc<OnlineUser>>,
    ) {
        if let Some(room_entry::Kind::MemberDevicesChanged(changed)) = &entry.kind {
            return self.take_device_change(changed, position, slot, awake);
        }
        let Ok(room_id) = RoomId::parse(&entry.room_id) else {
            return;
        };
        let listened = self.online.listens(&room_id);
        let room = self.recent(&room_id, slot);
        room.last = position;
        if let Some(room_entry::Kind::Event(event)) = &entry.kind {
            room.last_event = position;
            if changes_members(event) {
                room.last_member = position;
            }
            room.take_event(event, position, listened);
            self.online
                .take_membership(&room_id, event, position, awake);
        }
        self.online.listeners(&room_id, awake);
    }

    fn take_device_change(
        &mut self,
        changed: &MemberDevicesChanged,
        position: Position,
        slot: Slot,
        awake: &mut Vec<Arc<OnlineUser>>,
    ) {
        for room_id in &changed.room_ids {
            let Ok(room_id) = RoomId::parse(room_id) else {
                continue;
            };
            self.recent(&room_id, slot).last_devices = position;
            self.online.listeners(&room_id, awake);
        }
    }

    fn recent(&mut self, room_id: &RoomId, slot: Slot) -> &mut RecentRoom {
        let floor = self
            .slots
            .get(slot.0 as usize)
            .map_or(Position::START, |slot| slot.floor);
        let room = self.rooms.entry(room_id.to_owned());
        room.or_insert_with(|| RecentRoom {
            floor,
            ..RecentRoom::default()
        })
    }

    fn take_user(
        &mut self,
        entry: &UserEntry,
        position: Position,
        awake: &mut Vec<Arc<OnlineUser>>,
    ) {
        let shown = matches!(
            &entry.kind,
            Some(
                user_entry::Kind::AccountData(_)
                    | user_entry::Kind::RoomForgotten(_)
                    | user_entry::Kind::Membership(_)
                    | user_entry::Kind::DeviceChanged(_)
                    | user_entry::Kind::ToDevice(_)
            )
        );
        if shown {
            self.users.insert(entry.user_id.clone(), position);
            awake.extend(self.online.user(&entry.user_id));
        }
    }

    /// Forgets everything when there is too much of it; what is forgotten is below the floors.
    fn bound(&mut self) {
        if self.rooms.len() <= TRACKED_MAX && self.users.len() <= TRACKED_MAX {
            return;
        }
        self.rooms.clear();
        self.users.clear();
        for slot in &mut self.slots {
            slot.floor = slot.seen;
        }
    }
}

impl RecentRoom {
    fn take_event(&mut self, event: &Event, position: Position, listened: bool) {
        if event.status() != EventStatus::Accepted {
            return;
        }
        let known = listened.then(|| timeline_event(event, position)).flatten();
        let Some(known) = known else {
            self.events.clear();
            self.floor = position;
            return;
        };
        if let Some(redacted) = &event.redacted {
            self.prune(redacted);
        }
        self.events.push_back(Arc::new(known));
        if self.events.len() > EVENTS_MAX
            && let Some(dropped) = self.events.pop_front()
        {
            self.floor = dropped.position;
        }
    }

    fn prune(&mut self, redacted: &Redacted) {
        let held = self
            .events
            .iter_mut()
            .find(|event| event.pdu.event_id().as_str() == redacted.event_id);
        let Some(held) = held else { return };
        let event_id = held.pdu.event_id().to_owned();
        if let Ok(pdu) = Pdu::from_stored(event_id, redacted.json.as_str()) {
            *held = Arc::new(TimelineEvent {
                pdu,
                transaction: None,
                ..held.as_ref().clone()
            });
        }
    }
}

/// Whether others may have to look at somebody's devices after an event.
fn changes_members(event: &Event) -> bool {
    let Some(state) = &event.state else {
        return false;
    };
    let member = state.membership.as_ref();
    member.is_some_and(|member| member.membership != member.previous)
        || state.event_type == "m.room.encryption"
}

fn timeline_event(event: &Event, position: Position) -> Option<TimelineEvent> {
    let event_id = OwnedEventId::try_from(event.event_id.as_str()).ok()?;
    let previous = event
        .state
        .as_ref()
        .map(|state| state.previous_event_id.as_str());
    Some(TimelineEvent {
        pdu: Pdu::from_stored(event_id, event.json.as_str()).ok()?,
        position,
        transaction: event
            .transaction
            .as_ref()
            .map(|t| (t.device_id.clone(), t.txn_id.clone())),
        previous_event_id: previous.and_then(|id| OwnedEventId::try_from(id).ok()),
    })
}
