//! What the entry of an event says besides its place: what it was before, and gaps.

use hanse_event::Pdu;
use hanse_proto::room::{FilledGap, Gap};

use super::{AuthEvents, Coming, Decision};

impl Decision {
    /// Adds to the event's entry that it was known, which gaps it fills, and which it leaves.
    pub(super) fn with(mut self, coming: &Coming<'_>, gap: Option<Gap>) -> Self {
        if let Some(event) = self.written.event() {
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
            begins_anew: false,
        }
    }

    /// Whether others may have cited it: it is in the archives, though not at its place.
    pub(super) fn is_cited(&self) -> bool {
        self.changed
            .is_some_and(|changed| changed.arrived_position != 0)
    }
}
