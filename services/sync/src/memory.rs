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
    room::{
        Event, EventStatus, MemberDevicesChanged, Redacted, RoomEntry, StateChange, room_entry,
    },
    user::{UserEntry, user_entry},
};
use hanse_room::TimelineEvent;
use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};

use crate::online::{Online, OnlineUser};

/// Events kept of a room that an online user is in.
const EVENTS_MAX: usize = 100;
/// Users of a room whose last receipt is known.
const READERS_MAX: usize = 1_000;
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
    /// The last change of the state, or redaction of any event.
    last_state: Position,
    /// The last change of the state that no event of the timeline brought: by state resolution.
    last_resolved: Position,
    /// The last receipt, of anybody …
    last_receipt: Position,
    /// … of users that were online then …
    receipts: HashMap<OwnedUserId, Position>,
    /// … and of those who are not among them.
    last_other_receipt: Position,
    /// Events after this are all in `events`.
    floor: Position,
    events: VecDeque<Arc<TimelineEvent>>,
}

/// The last changes of one user's own data.
#[derive(Clone, Copy, Debug, Default)]
struct RecentUser {
    /// What a sync tells.
    shown: Position,
    /// The devices and their keys.
    keys: Position,
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
    /// The last changes of each user's own data.
    users: HashMap<String, RecentUser>,
    pub(crate) online: Online,
}

/// Whom a batch concerns.
#[derive(Debug, Default)]
pub(crate) struct Concerned {
    /// To be answered now.
    pub(crate) at_once: Vec<Arc<OnlineUser>>,
    /// To be told that others' devices changed.
    pub(crate) soon: Vec<Arc<OnlineUser>>,
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
        let last = self.users.get(user_id.as_str()).map(|user| user.shown);
        self.changed(last, slot, after)
    }

    /// Whether what a user's devices have left of their keys changed after a position of the user's slot.
    pub(crate) fn keys_changed(&self, user_id: &UserId, slot: Slot, after: Position) -> Changed {
        let last = self.users.get(user_id.as_str()).map(|user| user.keys);
        self.changed(last, slot, after)
    }

    /// Whether a room's state changed after a position of its slot.
    pub(crate) fn state_changed(&self, room_id: &RoomId, slot: Slot, after: Position) -> Changed {
        let last = self.rooms.get(room_id).map(|room| room.last_state);
        self.changed(last, slot, after)
    }

    /// Whether state resolution gave a room's state other values after a position of its slot.
    pub(crate) fn state_resolved(&self, room_id: &RoomId, slot: Slot, after: Position) -> Changed {
        let last = self.rooms.get(room_id).map(|room| room.last_resolved);
        self.changed(last, slot, after)
    }

    /// Whether anybody has read further in a room after a position of its slot.
    pub(crate) fn anybody_read(&self, room_id: &RoomId, slot: Slot, after: Position) -> Changed {
        let last = self.rooms.get(room_id).map(|room| room.last_receipt);
        self.changed(last, slot, after)
    }

    /// Whether a user has read further in a room after a position of its slot.
    pub(crate) fn receipts_changed(
        &self,
        (user_id, room_id): (&UserId, &RoomId),
        slot: Slot,
        after: Position,
    ) -> Changed {
        let last = self.rooms.get(room_id).map(|room| {
            let own = room.receipts.get(user_id).copied();
            own.unwrap_or_default().max(room.last_other_receipt)
        });
        self.changed(last, slot, after)
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

    /// Takes a batch in; returns whom it concerns.
    pub(crate) fn take(&mut self, batch: &AppliedBatch) -> Concerned {
        let mut concerned = Concerned::default();
        for (position, entry) in batch.positioned() {
            let Concerned { at_once, soon } = &mut concerned;
            let before = (at_once.len(), soon.len());
            match &entry.kind {
                Some(Kind::Room(room)) => match &room.kind {
                    Some(room_entry::Kind::MemberDevicesChanged(changed)) => {
                        self.take_device_change(changed, position, batch.slot, soon);
                    }
                    _ => self.take_room(room, position, batch.slot, at_once),
                },
                Some(Kind::User(user)) => {
                    let cause = entry.relay_source.as_ref();
                    let cause = cause.map(|source| Position::from_packed(source.position));
                    self.take_user(user, position, cause, at_once);
                }
                Some(Kind::Name(_)) | None => {}
            }
            let told = at_once.iter().skip(before.0);
            for user in told.chain(soon.iter().skip(before.1)) {
                user.woken_by(&entry.trace_parent);
            }
        }
        if let Some(recent) = self.slots.get_mut(batch.slot.0 as usize) {
            recent.seen = batch.end();
        }
        self.bound();
        concerned
    }

    fn take_room(
        &mut self,
        entry: &RoomEntry,
        position: Position,
        slot: Slot,
        awake: &mut Vec<Arc<OnlineUser>>,
    ) {
        let Some(kind) = &entry.kind else { return };
        if !is_shown(kind) {
            return;
        }
        let Ok(room_id) = RoomId::parse(&entry.room_id) else {
            return;
        };
        let listened = self.online.listens(&room_id);
        let reader = match kind {
            room_entry::Kind::Receipt(receipt) => self.online.user(&receipt.user_id),
            _ => None,
        };
        let room = self.recent(&room_id, slot);
        room.last = position;
        match kind {
            room_entry::Kind::Event(event) => room.take_event(event, position, listened),
            room_entry::Kind::StateResolved(resolved) => {
                room.last_resolved = position;
                room.take_change(resolved.change.as_ref(), position);
            }
            room_entry::Kind::Receipt(_) => {
                room.take_receipt(reader.map(|user| user.user_id.clone()), position);
            }
            _ => {}
        }
        self.online.take_membership(entry, position, awake);
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
        cause: Option<Position>,
        awake: &mut Vec<Arc<OnlineUser>>,
    ) {
        let shown = matches!(
            &entry.kind,
            Some(
                user_entry::Kind::AccountData(_)
                    | user_entry::Kind::RoomForgotten(_)
                    | user_entry::Kind::Membership(_)
                    | user_entry::Kind::DeviceChanged(_)
                    | user_entry::Kind::CrossSigningKey(_)
                    | user_entry::Kind::KeySignatures(_)
                    | user_entry::Kind::ToDevice(_)
            )
        );
        if let (Some(user_entry::Kind::Membership(notice)), Some(cause)) = (&entry.kind, cause) {
            self.online.noticed(&entry.user_id, &notice.room_id, cause);
        }
        if changes_keys(entry) {
            self.users.entry(entry.user_id.clone()).or_default().keys = position;
        }
        if shown {
            self.users.entry(entry.user_id.clone()).or_default().shown = position;
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
    /// `user`: if it is online.
    fn take_receipt(&mut self, user: Option<OwnedUserId>, position: Position) {
        self.last_receipt = position;
        if self.receipts.len() >= READERS_MAX {
            self.receipts.clear();
            self.last_other_receipt = position;
        }
        match user {
            Some(user) => drop(self.receipts.insert(user, position)),
            None => self.last_other_receipt = position,
        }
    }

    fn take_change(&mut self, change: Option<&StateChange>, position: Position) {
        let Some(change) = change else { return };
        self.last_state = position;
        if changes_members(change) {
            self.last_member = position;
        }
    }

    fn take_event(&mut self, event: &Event, position: Position, listened: bool) {
        self.last_event = position;
        self.take_change(event.state.as_ref(), position);
        if event.redacted.is_some() {
            self.last_state = position;
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

/// Whether a user's devices may have others keys left after an entry.
fn changes_keys(entry: &UserEntry) -> bool {
    matches!(
        &entry.kind,
        Some(
            user_entry::Kind::DeviceKeys(_)
                | user_entry::Kind::OneTimeKeysAdded(_)
                | user_entry::Kind::OneTimeKeyClaimed(_)
                | user_entry::Kind::FallbackKey(_)
                | user_entry::Kind::KeysRemoved(_)
                | user_entry::Kind::SessionStarted(_)
                | user_entry::Kind::SessionEnded(_)
        )
    )
}

/// Whether others may have to look at somebody's devices after a change of state.
fn changes_members(change: &StateChange) -> bool {
    let member = change.membership.as_ref();
    member.is_some_and(|member| member.membership != member.previous)
        || change.event_type == "m.room.encryption"
}

/// Whether anybody is shown what an entry says: what is not accepted is kept, and no more.
fn is_shown(kind: &room_entry::Kind) -> bool {
    match kind {
        room_entry::Kind::Event(event) => event.status() == EventStatus::Accepted,
        room_entry::Kind::StateNodePart(_) => false,
        _ => true,
    }
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
