//! The state of one room in an answer ([spec]): with what is in the timeline, it brings the client
//! from what it knows to what is.
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#syncing

use std::collections::{BTreeMap, BTreeSet};

use hanse_event::filter::EventFilter;
use hanse_log::Position;
use hanse_room::TimelineEvent;
use ruma::{EventId, OwnedEventId};

use crate::{
    SyncError,
    answer::{Events, RoomAt},
    ask::Ask,
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

impl Inner {
    /// The state before the timeline's first event; or, for `state_after`, at its end.
    pub(crate) async fn state(
        &self,
        ask: &Ask,
        at: &RoomAt,
        (extent, now): (Extent, Position),
        shown: &Shown,
    ) -> Result<Vec<TimelineEvent>, SyncError> {
        let until = match shown.events.first() {
            Some(first) if !ask.state_after => just_before(first.position),
            _ => now,
        };
        let mut state = match extent {
            Extent::Full => self.full_state(ask, at, until).await?,
            // What changed is all in the timeline, where clients of `state` look for it.
            Extent::Since(_) if shown.whole && !ask.state_after => Vec::new(),
            Extent::Since(since) => self.changed_state(ask, at, since, until).await?,
        };
        if ask.lazy() {
            self.add_speakers(ask, at, extent, until, &shown.events, &mut state)
                .await?;
        }
        let filter = EventFilter::new(&ask.filter.room.state);
        state.retain(|event| filter.matches(&event.pdu));
        Ok(state)
    }

    async fn full_state(
        &self,
        ask: &Ask,
        at: &RoomAt,
        until: Position,
    ) -> Result<Vec<TimelineEvent>, SyncError> {
        let room_id = &at.room.room_id;
        let mut keys = self.rooms.plain_state(room_id, until).await?;
        if !ask.lazy() {
            keys.extend(self.rooms.members(room_id, until).await?);
        }
        let mut state = Vec::with_capacity(keys.len());
        for key in &keys {
            state.extend(self.rooms.state_body(room_id, key).await?);
        }
        Ok(state)
    }

    /// The last change of each key in `(since, until]`.
    async fn changed_state(
        &self,
        ask: &Ask,
        at: &RoomAt,
        since: Position,
        until: Position,
    ) -> Result<Vec<TimelineEvent>, SyncError> {
        let room_id = &at.room.room_id;
        let mut last: BTreeMap<(String, String), OwnedEventId> = BTreeMap::new();
        for change in self.rooms.state_changes(room_id, since, until).await? {
            if !ask.lazy() || change.event_type != MEMBER || change.state_key == ask.user_id {
                last.insert((change.event_type, change.state_key), change.event_id);
            }
        }
        let mut state = Vec::with_capacity(last.len());
        for event_id in last.values() {
            state.extend(self.rooms.event(room_id, event_id).await?);
        }
        Ok(state)
    }

    /// Lazy loading: the memberships of those who speak in the timeline, and at the start one's own.
    async fn add_speakers(
        &self,
        ask: &Ask,
        at: &RoomAt,
        extent: Extent,
        until: Position,
        timeline: &Events,
        state: &mut Vec<TimelineEvent>,
    ) -> Result<(), SyncError> {
        let mut speakers: BTreeSet<&str> = timeline
            .iter()
            .map(|event| event.pdu.sender().as_str())
            .collect();
        if extent == Extent::Full {
            speakers.insert(ask.user_id.as_str());
        }
        let room_id = &at.room.room_id;
        let device = (&*ask.user_id, &*ask.device_id);
        for speaker in speakers {
            let known = |event: &EventId| state.iter().any(|known| known.pdu.event_id() == event);
            let Some(member) = self.rooms.state(room_id, MEMBER, speaker, until).await? else {
                continue;
            };
            let given = (speaker, &*member.event_id);
            let fresh = self
                .seen_members
                .give(device, room_id, given, (at.since, at.now));
            let repeat = extent == Extent::Full || ask.redundant_members();
            if (fresh || repeat) && !known(&member.event_id) {
                state.extend(self.rooms.state_body(room_id, &member).await?);
            }
        }
        Ok(())
    }
}

/// The last position before this one.
pub(crate) fn just_before(position: Position) -> Position {
    Position::from_packed(position.packed() - 1)
}
