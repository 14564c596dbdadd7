//! Unread counts: the push rules over what came after the user's receipts, a bounded scan, carried
//! on from where the last one ended.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    ops::ControlFlow,
    sync::Arc,
};

use hanse_event::{Pdu, push};
use hanse_log::Position;
use hanse_room::{ReceiptAt, TimelineEvent};
use moka::sync::Cache;
use ruma::{
    OwnedEventId, OwnedRoomId, OwnedUserId,
    api::client::sync::sync_events::{UnreadNotificationsCount, v3::JoinedRoom},
    push::Ruleset,
};
use serde::Deserialize;

use crate::{SyncError, answer::RoomAt, ask::Ask, worker::Inner};

/// Events evaluated for one count.
const SCANNED_MAX: usize = 500;
/// Events read at once.
const PAGE: usize = 50;
/// Counts remembered.
const COUNTS_MAX: u64 = 100_000;
/// The thread of events that are in none.
const MAIN: &str = "main";

/// Counts by user and room.
#[derive(Debug)]
pub(crate) struct UnreadCache {
    counts: Cache<(OwnedUserId, OwnedRoomId), Arc<Counted>>,
}

impl Default for UnreadCache {
    fn default() -> Self {
        Self {
            counts: Cache::new(COUNTS_MAX),
        }
    }
}

/// Counts up to a position, valid as long as receipts and rules stay.
#[derive(Clone, Debug, Default)]
struct Counted {
    basis: u64,
    up_to: Position,
    threads: BTreeMap<String, Counts>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    notify: u64,
    highlight: u64,
}

/// Up to where the user has read, by thread.
#[derive(Debug, Default)]
struct Marks {
    unthreaded: Position,
    threads: BTreeMap<String, Position>,
}

impl Marks {
    fn of(receipts: &[ReceiptAt]) -> Self {
        let mut marks = Self::default();
        for receipt in receipts {
            let mark = match receipt.thread_id.as_str() {
                "" => &mut marks.unthreaded,
                thread => marks.threads.entry(thread.to_owned()).or_default(),
            };
            *mark = (*mark).max(receipt.event_position);
        }
        marks
    }

    fn unread(&self, thread: &str, position: Position) -> bool {
        let mark = self.threads.get(thread).copied().unwrap_or_default();
        position > self.unthreaded.max(mark)
    }
}

impl Inner {
    /// Adds the counts of a room.
    pub(crate) async fn count_unread(
        &self,
        ask: &Ask,
        at: &RoomAt,
        up_to: Position,
        room: &mut JoinedRoom,
    ) -> Result<(), SyncError> {
        let counted = self.counted(ask, at, up_to).await?;
        let by_thread = ask.filter.room.timeline.unread_thread_notifications;
        let mut main = Counts::default();
        for (thread, counts) in &counted.threads {
            let thread_id = OwnedEventId::try_from(thread.as_str());
            if let Some(thread_id) = thread_id.ok().filter(|_| by_thread) {
                room.unread_thread_notifications
                    .insert(thread_id, counts.shown());
            } else {
                main.notify += counts.notify;
                main.highlight += counts.highlight;
            }
        }
        room.unread_notifications = main.shown();
        Ok(())
    }

    async fn counted(
        &self,
        ask: &Ask,
        at: &RoomAt,
        up_to: Position,
    ) -> Result<Arc<Counted>, SyncError> {
        let receipts = self.own_receipts(ask, at).await?;
        let rules = self.push_rules(ask).await?;
        let basis = basis(&receipts.value, rules.value.position);
        let key = (ask.user_id.clone(), at.room.room_id.clone());
        let held = self
            .unread
            .counts
            .get(&key)
            .filter(|held| held.basis == basis);
        if let Some(held) = held.as_ref().filter(|held| held.up_to >= up_to) {
            return Ok(Arc::clone(held));
        }
        let before = held.map(|held| held.as_ref().clone());
        let mut counted = before.unwrap_or_else(|| Counted {
            basis,
            // Nothing before the user came counts.
            up_to: at.room.position,
            ..Counted::default()
        });
        let marks = Marks::of(&receipts.value);
        self.count_on(ask, at, &mut counted, up_to, &marks, &rules.value.ruleset)
            .await?;
        let counted = Arc::new(counted);
        self.unread.counts.insert(key, Arc::clone(&counted));
        Ok(counted)
    }

    /// Evaluates what came since the last count.
    async fn count_on(
        &self,
        ask: &Ask,
        at: &RoomAt,
        counted: &mut Counted,
        up_to: Position,
        marks: &Marks,
        rules: &Ruleset,
    ) -> Result<(), SyncError> {
        let after = counted.up_to.max(marks.unthreaded);
        let events = self.events_to_count(at, after, up_to).await?;
        counted.up_to = up_to;
        let mut context = None;
        for event in events {
            if event.pdu.sender() == ask.user_id {
                // Who writes has read.
                counted.threads.clear();
                continue;
            }
            let thread = thread_of(&event.pdu);
            if marks.unread(&thread, event.position) {
                if context.is_none() {
                    context = Some(self.push_context(ask, at).await?);
                }
                let outcome = context
                    .as_ref()
                    .map(|c| push::evaluate(&event.pdu, rules, c));
                counted
                    .threads
                    .entry(thread)
                    .or_default()
                    .add(outcome.unwrap_or_default());
            }
        }
        Ok(())
    }

    /// Events in `(after, up_to]`, oldest first, from memory if it has them.
    async fn events_to_count(
        &self,
        at: &RoomAt,
        after: Position,
        up_to: Position,
    ) -> Result<Vec<Arc<TimelineEvent>>, SyncError> {
        let room_id = &at.room.room_id;
        if let Some(events) = self.memory.read().events(room_id, at.slot, after, up_to) {
            return Ok(events);
        }
        let mut events = Vec::new();
        let visit = |event| {
            events.push(Arc::new(event));
            if events.len() < SCANNED_MAX {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        };
        self.rooms
            .walk_back(room_id, after, up_to, PAGE, visit)
            .await?;
        events.reverse();
        Ok(events)
    }
}

impl Counts {
    fn add(&mut self, outcome: push::Outcome) {
        self.notify += u64::from(outcome.notify);
        self.highlight += u64::from(outcome.highlight);
    }

    fn shown(self) -> UnreadNotificationsCount {
        let mut shown = UnreadNotificationsCount::new();
        shown.notification_count = self.notify.try_into().ok();
        shown.highlight_count = self.highlight.try_into().ok();
        shown
    }
}

fn basis(receipts: &[ReceiptAt], rules: Option<Position>) -> u64 {
    let mut hasher = DefaultHasher::new();
    rules.hash(&mut hasher);
    for receipt in receipts {
        (receipt.position, &receipt.thread_id).hash(&mut hasher);
    }
    hasher.finish()
}

fn thread_of(pdu: &Pdu) -> String {
    #[derive(Deserialize)]
    struct Content {
        #[serde(rename = "m.relates_to")]
        relates_to: RelatesTo,
    }
    #[derive(Deserialize)]
    struct RelatesTo {
        rel_type: String,
        event_id: String,
    }
    if !pdu.content().get().contains("m.thread") {
        return MAIN.to_owned();
    }
    match pdu.content_as::<Content>() {
        Ok(Content { relates_to }) if relates_to.rel_type == "m.thread" => relates_to.event_id,
        _ => MAIN.to_owned(),
    }
}
