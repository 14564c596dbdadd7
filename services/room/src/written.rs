//! What a decision writes: as a rule one batch; where that would be too large, several of bounded size.
//!
//! Invariant: the event's own entry says whether changes of the current state follow it in later
//! batches (`RoomHead.resolving`), and so does the last entry of each of these but the last. Whoever
//! loads a room that was left so works out anew what is missing.

use hanse_log::{AppendError, Ticket};
use hanse_proto::{
    log::{Entry, entry::Kind},
    room::{Event, RoomHead, StateNode, StateNodePart, StateValue, room_entry},
};
use prost::Message;

use crate::{RoomError, hot::Hot, rooms::Inner};

/// Batches of entries. The first begins with the event's own.
pub(crate) struct Written {
    batches: Vec<Vec<Entry>>,
    /// Of the last batch.
    bytes: usize,
}

/// What was handed to the log.
pub(crate) struct Submitted {
    /// Of the event, or a barrier's where nothing was written.
    pub(crate) ticket: Ticket,
    /// Whether all of it was. If not, the room's memory is ahead of the log, and the event stands for
    /// itself.
    pub(crate) whole: bool,
}

impl Written {
    pub(crate) fn nothing() -> Self {
        Self {
            batches: Vec::new(),
            bytes: 0,
        }
    }

    /// An event.
    pub(crate) fn of(entry: Entry) -> Self {
        Self {
            bytes: entry.encoded_len(),
            batches: vec![vec![entry]],
        }
    }

    pub(crate) fn is_nothing(&self) -> bool {
        self.batches.is_empty()
    }

    /// Adds a change of the current state, and says whether the batch has enough.
    pub(crate) fn push(&mut self, entry: Entry, bytes_max: usize) -> bool {
        self.bytes += entry.encoded_len();
        if let Some(batch) = self.batches.last_mut() {
            batch.push(entry);
        }
        self.is_full(bytes_max)
    }

    /// Whether what follows has to be in another batch.
    pub(crate) fn is_full(&self, bytes_max: usize) -> bool {
        self.bytes >= bytes_max
    }

    /// Has the batch say how the room is after it.
    pub(crate) fn close(&mut self, head: &RoomHead) {
        let last = self.batches.last_mut().and_then(|batch| batch.last_mut());
        if let Some(Kind::Room(room)) = last.and_then(|entry| entry.kind.as_mut())
            && let Some(room_entry::Kind::StateResolved(resolved)) = &mut room.kind
        {
            resolved.head = Some(head.clone());
        }
    }

    /// Begins another batch.
    pub(crate) fn go_on(&mut self) {
        self.batches.push(Vec::new());
        self.bytes = 0;
    }

    /// The event's own entry is the first of those that it causes.
    pub(crate) fn event(&mut self) -> Option<&mut Event> {
        let Some(Kind::Room(room)) = &mut self.batches.first_mut()?.first_mut()?.kind else {
            return None;
        };
        match &mut room.kind {
            Some(room_entry::Kind::Event(event)) => Some(event),
            Some(room_entry::Kind::Backfilled(backfilled)) => backfilled.event.as_mut(),
            _ => None,
        }
    }

    /// All of it, for who appends several decisions at once.
    pub(crate) fn into_entries(self) -> impl Iterator<Item = Entry> {
        self.batches.into_iter().flatten()
    }

    /// Takes the values of a large node out of the event's entry.
    fn large_node(&mut self, bytes_max: usize) -> Option<(String, &mut StateNode)> {
        let event = self.event()?;
        let node = event.event_state.as_mut()?.introduces.as_mut()?;
        let is_large = node.encoded_len() > bytes_max;
        is_large.then(|| (event.event_id.clone(), node))
    }
}

impl Inner {
    /// Submits what was decided, in this order.
    pub(crate) async fn submit(
        &self,
        hot: &Hot,
        mut written: Written,
    ) -> Result<Submitted, RoomError> {
        for part in self.node_parts(hot, &mut written) {
            self.logs
                .submit(hot.slot, Some(hot.basis), vec![part])?
                .applied()
                .await?;
        }
        let mut batches = written.batches.into_iter();
        let first = batches.next().unwrap_or_default();
        let ticket = self.logs.submit(hot.slot, Some(hot.basis), first)?;
        let mut whole = true;
        for batch in batches {
            whole = whole && self.landed(hot, batch).await.is_ok();
        }
        Ok(Submitted { ticket, whole })
    }

    async fn landed(&self, hot: &Hot, batch: Vec<Entry>) -> Result<(), AppendError> {
        let ticket = self.logs.submit(hot.slot, Some(hot.basis), batch)?;
        ticket.applied().await.map(|_| ())
    }

    /// The values of a node that are too many for its event's entry, in entries of their own.
    fn node_parts(&self, hot: &Hot, written: &mut Written) -> Vec<Entry> {
        let bytes_max = self.portion_bytes_max / 2;
        let Some((event_id, node)) = written.large_node(bytes_max) else {
            return Vec::new();
        };
        let apart = self.random.alphanumeric(12);
        node.apart.clone_from(&apart);
        let portions = portions(std::mem::take(&mut node.values), self.portion_bytes_max);
        let part = |values| StateNodePart {
            event_id: event_id.clone(),
            apart: apart.clone(),
            values,
        };
        let kinds = portions.map(part).map(room_entry::Kind::StateNodePart);
        let now_ms = self.clock.now_ms();
        kinds
            .map(|kind| hot.entry(now_ms, Vec::new(), kind))
            .collect()
    }
}

/// Values in portions of bounded size, at least one in each.
fn portions(values: Vec<StateValue>, bytes_max: usize) -> impl Iterator<Item = Vec<StateValue>> {
    let mut values = values.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut portion = vec![values.next()?];
        let mut bytes = 0;
        while let Some(value) = values.next_if(|value| {
            bytes += value.encoded_len();
            bytes < bytes_max
        }) {
            portion.push(value);
        }
        Some(portion)
    })
}
