//! The timeline of one room in an answer.

use std::{ops::ControlFlow, sync::Arc};

use hanse_event::{filter::EventFilter, visibility::is_dummy};
use hanse_log::Position;
use hanse_room::{Lens, TimelineEvent};

use crate::{
    SyncError,
    answer::{Events, RoomAt},
    ask::Ask,
    memory::Changed,
    worker::Inner,
};

/// Events looked at for one timeline, whatever the filter lets through.
const SCANNED_MAX: usize = 1_000;

/// What is shown of a room's timeline.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// Oldest first.
    pub(crate) events: Events,
    /// Whether older events of the stretch are left out.
    pub(crate) limited: bool,
    /// Whether every state event of the stretch is among them.
    pub(crate) whole: bool,
    /// Whether there is no event in the stretch, shown or not.
    pub(crate) nothing: bool,
}

impl Inner {
    /// The newest events in `(after, up_to]` that the filter and the room's visibility allow.
    pub(crate) async fn timeline(
        &self,
        ask: &Ask,
        at: &RoomAt,
        (after, up_to): (Position, Position),
        lens: Option<&Lens>,
    ) -> Result<Shown, SyncError> {
        let mut taker = Taker::new(ask, lens);
        let room_id = &at.room.room_id;
        let known = self.memory.read().events(room_id, at.slot, after, up_to);
        if let Some(events) = known {
            let _ = events
                .into_iter()
                .rev()
                .try_for_each(|event| taker.take(event));
        } else if at.events_changed != Changed::No || after < Position::START {
            let page = taker.limit + 1;
            let visit = |event| taker.take(Arc::new(event));
            self.rooms
                .walk_back(room_id, after, up_to, page, visit)
                .await?;
        }
        Ok(taker.shown())
    }
}

/// Takes events, newest first, until it has enough.
struct Taker<'a> {
    filter: EventFilter<'a>,
    lens: Option<&'a Lens>,
    limit: usize,
    scanned: usize,
    shown: Shown,
}

impl<'a> Taker<'a> {
    fn new(ask: &'a Ask, lens: Option<&'a Lens>) -> Self {
        let filter = EventFilter::new(&ask.filter.room.timeline);
        let shown = Shown {
            whole: true,
            nothing: true,
            ..Shown::default()
        };
        Self {
            filter,
            lens,
            limit: ask.timeline_limit(),
            scanned: 0,
            shown,
        }
    }

    fn take(&mut self, event: Arc<TimelineEvent>) -> ControlFlow<()> {
        self.shown.nothing = false;
        if is_dummy(&event.pdu) || self.lens.is_some_and(|lens| !lens.sees(&event)) {
            self.pass_over(&event);
            return ControlFlow::Continue(());
        }
        if self.shown.events.len() == self.limit || self.scanned == SCANNED_MAX {
            self.shown.limited = true;
            self.shown.whole = false;
            return ControlFlow::Break(());
        }
        self.scanned += 1;
        if self.filter.matches(&event.pdu) {
            self.shown.events.push(event);
        } else {
            self.pass_over(&event);
        }
        ControlFlow::Continue(())
    }

    fn pass_over(&mut self, event: &TimelineEvent) {
        self.shown.whole &= event.pdu.state_key().is_none();
    }

    fn shown(mut self) -> Shown {
        self.shown.events.reverse();
        self.shown
    }
}
