//! What the entry of an event says besides its place: what it was before, and gaps.

use hanse_event::Pdu;
use hanse_proto::{
    log::{Entry, entry::Kind},
    room::{Event, FilledGap, Gap, room_entry},
};

use super::{AuthEvents, Coming, Decision};

impl Decision {
    /// Adds to the event's entry that it was known, which gaps it fills, and which it leaves.
    pub(super) fn with(mut self, coming: &Coming<'_>, gap: Option<Gap>) -> Self {
        if let Some(event) = self.entries.first_mut().and_then(event_of) {
            event.changed = coming.changed;
            event.gap = gap;
            let filled = coming.fills.iter().map(|gap| FilledGap {
                depth: gap.point.depth,
                position: gap.point.position.packed(),
            });
            event.fills = filled.collect();
        }
        self
    }
}

impl<'a> Coming<'a> {
    /// An event of our own: new, and in nobody's gap.
    pub(super) fn of_ours(pdu: &'a Pdu) -> Self {
        Self {
            pdu,
            auth_events: AuthEvents::new(),
            changed: None,
            fills: Vec::new(),
        }
    }

    /// Whether others may have cited it: it is in the archives, though not at its place.
    pub(super) fn is_cited(&self) -> bool {
        self.changed
            .is_some_and(|changed| changed.arrived_position != 0)
    }
}

/// The event's own entry is the first of those that it causes.
fn event_of(entry: &mut Entry) -> Option<&mut Event> {
    let Some(Kind::Room(room)) = &mut entry.kind else {
        return None;
    };
    match &mut room.kind {
        Some(room_entry::Kind::Event(event)) => Some(event),
        Some(room_entry::Kind::Backfilled(backfilled)) => backfilled.event.as_mut(),
        _ => None,
    }
}
