//! The state of one room in an answer ([spec]): it brings the client from what it knows to what is.
//!
//! A client that asks for `state_after` takes the state from there alone: each key that changed has
//! its value at the end. Any other applies the timeline's state events over `state`: a key that one
//! of them sets has its value before the first of these, any other key that changed its value at the
//! end. So what state resolution changes reaches both, but for a key whose event in the timeline was
//! overruled: that is what `state_after` was made for.
//!
//! Lazy loading takes memberships out of the whole state alone. What changed is told in full: else
//! joins, leaves and names that changed in a gap, or by resolution, would be lost.
//!
//! A key that state resolution left without a value cannot be told.
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#syncing

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use hanse_event::filter::EventFilter;
use hanse_log::Position;
use hanse_room::{StateChangeAt, TimelineEvent};
use ruma::{OwnedEventId, OwnedUserId, RoomId};

use crate::{
    SyncError,
    answer::{Events, RoomAt},
    ask::Ask,
    memory::Changed,
    timeline::Shown,
    worker::Inner,
};

const MEMBER: &str = "m.room.member";

/// Which state an answer needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of it: the client knows nothing of the room, or asked for everything.
    Full,
    /// What changed after a position.
    Since(Position),
}

/// The state that a client is told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) events: Vec<TimelineEvent>,
    /// Whether a membership may have changed, here, in the timeline, or by losing its value.
    pub(crate) members_changed: bool,
}

impl Told {
    /// Whether it is no news.
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty() && !self.members_changed
    }
}

/// As of when the value of each key is told.
struct Moments<'a> {
    now: Position,
    /// Keys that clients will take from the timeline: told as of just before its first event for it.
    in_timeline: BTreeMap<(&'a str, &'a str), Position>,
}

impl<'a> Moments<'a> {
    fn new(ask: &Ask, now: Position, timeline: &'a Events) -> Self {
        let mut in_timeline = BTreeMap::new();
        let applied = timeline.iter().filter(|_| !ask.state_after);
        for event in applied {
            if let Some(state_key) = event.pdu.state_key() {
                let key = (event.pdu.type_name(), state_key);
                let before = just_before(event.position);
                in_timeline.entry(key).or_insert(before);
            }
        }
        Self { now, in_timeline }
    }

    fn of(&self, event_type: &str, state_key: &str) -> Position {
        let before = self.in_timeline.get(&(event_type, state_key));
        before.copied().unwrap_or(self.now)
    }
}

impl Inner {
    /// The state that an answer needs, beside the timeline, at `now`.
    pub(crate) async fn state(
        &self,
        ask: &Ask,
        at: &RoomAt,
        (extent, now): (Extent, Position),
        shown: &Shown,
    ) -> Result<Told, SyncError> {
        let moments = Moments::new(ask, now, &shown.events);
        let mut told = match extent {
            Extent::Full => self.full_state(ask, at, &moments).await?,
            Extent::Since(since) if self.is_told(ask, at, since, shown) => Told::default(),
            Extent::Since(since) => self.changed_state(at, since, &moments).await?,
        };
        told.members_changed |= shown.limited || shown.events.iter().any(is_member);
        let filter = EventFilter::new(&ask.filter.room.state);
        told.events.retain(|event| filter.matches(&event.pdu));
        if ask.lazy() {
            self.add_speakers(ask, at, extent, &moments, &shown.events, &mut told.events)
                .await?;
        }
        Ok(told)
    }

    /// Whether nothing changed but what the client will take from the timeline.
    fn is_told(&self, ask: &Ask, at: &RoomAt, since: Position, shown: &Shown) -> bool {
        let (memory, room_id) = (self.memory.read(), &at.room.room_id);
        let in_timeline = !ask.state_after
            && shown.whole
            && memory.state_resolved(room_id, at.slot, since) == Changed::No;
        // What resolution changes comes with an event.
        shown.nothing || in_timeline || memory.state_changed(room_id, at.slot, since) == Changed::No
    }

    async fn full_state(
        &self,
        ask: &Ask,
        at: &RoomAt,
        moments: &Moments<'_>,
    ) -> Result<Told, SyncError> {
        let room_id = &at.room.room_id;
        let mut keys = self.rooms.plain_state(room_id, moments.now).await?;
        if !ask.lazy() {
            keys.extend(self.rooms.members(room_id, moments.now).await?);
        }
        let mut events = Vec::with_capacity(keys.len());
        for key in &keys {
            if moments.of(&key.event_type, &key.state_key) == moments.now {
                events.extend(self.rooms.state_body(room_id, key).await?);
            }
        }
        for ((event_type, state_key), before) in &moments.in_timeline {
            if !ask.lazy() || *event_type != MEMBER {
                let value = self
                    .rooms
                    .state_event(room_id, event_type, state_key, *before);
                events.extend(value.await?);
            }
        }
        Ok(Told {
            events,
            members_changed: true,
        })
    }

    /// The values that keys have at their moments, where they had others at `since`.
    async fn changed_state(
        &self,
        at: &RoomAt,
        since: Position,
        moments: &Moments<'_>,
    ) -> Result<Told, SyncError> {
        let room_id = &at.room.room_id;
        let changes = self
            .rooms
            .state_changes(room_id, since, moments.now)
            .await?;
        let members_changed = changes.iter().any(|change| change.event_type == MEMBER);
        Ok(Told {
            events: self.values(room_id, changes, moments).await?,
            members_changed,
        })
    }

    async fn values(
        &self,
        room_id: &RoomId,
        changes: Vec<StateChangeAt>,
        moments: &Moments<'_>,
    ) -> Result<Vec<TimelineEvent>, SyncError> {
        // Of each key the value at `since`, and the last change.
        let mut last: BTreeMap<_, (Option<OwnedEventId>, StateChangeAt)> = BTreeMap::new();
        for change in changes {
            if change.position > moments.of(&change.event_type, &change.state_key) {
                continue;
            }
            match last.entry((change.event_type.clone(), change.state_key.clone())) {
                Entry::Vacant(first) => {
                    first.insert((change.previous_event_id.clone(), change));
                }
                Entry::Occupied(mut known) => known.get_mut().1 = change,
            }
        }
        let mut events = Vec::with_capacity(last.len());
        for (before, change) in last.values() {
            if *before != change.event_id {
                events.extend(self.rooms.changed_to(room_id, change).await?);
            }
        }
        Ok(events)
    }

    /// Lazy loading: the memberships of those who speak in the timeline, and at the start one's own.
    async fn add_speakers(
        &self,
        ask: &Ask,
        at: &RoomAt,
        extent: Extent,
        moments: &Moments<'_>,
        timeline: &Events,
        state: &mut Vec<TimelineEvent>,
    ) -> Result<(), SyncError> {
        let senders = timeline.iter().map(|event| event.pdu.sender().as_str());
        let mut speakers: BTreeSet<&str> = senders.collect();
        if extent == Extent::Full {
            speakers.insert(ask.user_id.as_str());
        }
        for speaker in speakers {
            self.add_member(ask, at, extent, moments, speaker, state)
                .await?;
        }
        Ok(())
    }

    /// Lazy loading: the memberships of those whom the room is named after.
    pub(crate) async fn add_heroes(
        &self,
        ask: &Ask,
        at: &RoomAt,
        extent: Extent,
        shown: &Shown,
        heroes: &[OwnedUserId],
        state: &mut Vec<TimelineEvent>,
    ) -> Result<(), SyncError> {
        let moments = Moments::new(ask, at.now, &shown.events);
        for hero in heroes.iter().filter(|_| ask.lazy()) {
            self.add_member(ask, at, extent, &moments, hero.as_str(), state)
                .await?;
        }
        Ok(())
    }

    /// Adds a membership, unless the client has it.
    async fn add_member(
        &self,
        ask: &Ask,
        at: &RoomAt,
        extent: Extent,
        moments: &Moments<'_>,
        user_id: &str,
        state: &mut Vec<TimelineEvent>,
    ) -> Result<(), SyncError> {
        let (room_id, moment) = (&at.room.room_id, moments.of(MEMBER, user_id));
        let Some(member) = self.rooms.state(room_id, MEMBER, user_id, moment).await? else {
            return Ok(());
        };
        let device = (&*ask.user_id, &*ask.device_id);
        let given = (user_id, &*member.event_id);
        let fresh = self
            .seen_members
            .give(device, room_id, given, (at.since, at.now));
        let repeat = extent == Extent::Full || ask.redundant_members();
        let known = |event: &TimelineEvent| event.pdu.event_id() == member.event_id;
        if (fresh || repeat) && !state.iter().any(known) {
            let filter = EventFilter::new(&ask.filter.room.state);
            let member = self.rooms.state_body(room_id, &member).await?;
            state.extend(member.filter(|member| filter.matches(&member.pdu)));
        }
        Ok(())
    }
}

fn is_member(event: &std::sync::Arc<TimelineEvent>) -> bool {
    event.pdu.type_name() == MEMBER
}

/// The last position before this one.
pub(crate) fn just_before(position: Position) -> Position {
    Position::from_packed(position.packed() - 1)
}

/// The position after another one.
pub(crate) fn just_after(position: Position) -> Position {
    Position::from_packed(position.packed().saturating_add(1))
}
