//! What has been applied, as it happens: the in-process bus.
//!
//! Lossy by design, as the cluster's bus is: a subscriber that falls behind, or sees a gap, reads
//! the log. [`Follower`] does that and hands out each batch once, in order.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use hanse_proto::log::Entry;
use parking_lot::Mutex;
use tokio::sync::broadcast;

use crate::{
    Position, ReadError, Slot, SlotLogs,
    sabotage::{Sabotage, Saboteur},
};

/// A batch that is in the log and in the archives.
#[derive(Debug)]
pub struct AppliedBatch {
    /// Its slot.
    pub slot: Slot,
    /// The epoch of the owner that published it.
    pub epoch: i64,
    /// Where it stands in the log.
    pub point: LogPoint,
    /// Its entries; entry `i` is at position `(seq, i)`.
    pub entries: Vec<Entry>,
}

impl AppliedBatch {
    /// The entries with their positions.
    pub fn positioned(&self) -> impl Iterator<Item = (Position, &Entry)> {
        let seq = self.point.seq;
        (0u32..)
            .zip(&self.entries)
            .map(move |(i, entry)| (Position::new(seq, i), entry))
    }

    /// The position up to which the slot is applied with this batch.
    pub fn end(&self) -> Position {
        Position::end_of(self.point.seq)
    }
}

/// A batch's place in a slot's log: its segment and sequence number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogPoint {
    /// The segment, or an earlier one.
    pub segment: i64,
    /// The batch's sequence number.
    pub seq: i64,
}

/// The newest batches of a slot, so that whoever is only a little behind needs no read.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    batches: Mutex<VecDeque<Arc<AppliedBatch>>>,
}

impl Recent {
    /// Most batches kept for each slot.
    const BATCHES_MAX: usize = 64;

    pub(crate) fn push(&self, batch: Arc<AppliedBatch>, saboteur: Saboteur) {
        let mut batches = self.batches.lock();
        let goes_on = |last: &Arc<AppliedBatch>| last.point.seq + 1 == batch.point.seq;
        let keeps = saboteur.does(Sabotage::RecentWithGaps);
        if !batches.back().is_none_or(goes_on) && !keeps {
            batches.clear();
        }
        batches.push_back(batch);
        if batches.len() > Self::BATCHES_MAX {
            batches.pop_front();
        }
    }

    /// The batches after `seq` up to `applied`, if all of them are here. They are not where another
    /// owner applied some: those were never pushed.
    pub(crate) fn after(&self, seq: i64, applied: i64) -> Option<Vec<Arc<AppliedBatch>>> {
        let batches = self.batches.lock();
        let held = batches.front()?.point.seq..=batches.back()?.point.seq;
        if *held.start() > seq + 1 || *held.end() < applied {
            return None;
        }
        let wanted = seq + 1..=applied;
        let after = batches
            .iter()
            .filter(|batch| wanted.contains(&batch.point.seq));
        Some(after.cloned().collect())
    }
}

/// What the bus carries.
#[derive(Clone, Debug)]
pub(crate) enum Shown {
    /// A batch that was applied, here or elsewhere.
    Batch(Arc<AppliedBatch>),
    /// The slot is applied further than the bus showed.
    Ahead(Slot),
}

/// Follows every slot live, from where each stands at the start: each batch once, in its slot's
/// order, whatever the bus loses.
#[derive(Debug)]
pub struct Follower {
    logs: SlotLogs,
    live: broadcast::Receiver<Shown>,
    seen: BTreeMap<Slot, LogPoint>,
    ready: VecDeque<Arc<AppliedBatch>>,
    /// Slots of which the log holds more than the bus gave us; each is read until nothing is left.
    behind: BTreeSet<Slot>,
}

impl Follower {
    /// Subscribes first, then takes the positions: nothing falls between.
    pub(crate) fn new(logs: SlotLogs, live: broadcast::Receiver<Shown>) -> Self {
        let seen = logs
            .map()
            .slots()
            .map(|slot| (slot, logs.applied_point(slot)))
            .collect();
        Self {
            logs,
            live,
            seen,
            ready: VecDeque::new(),
            behind: BTreeSet::new(),
        }
    }

    /// Where each slot stood when following began: everything after it is handed out.
    pub fn positions(&self) -> impl Iterator<Item = (Slot, Position)> {
        self.seen
            .iter()
            .map(|(slot, point)| (*slot, Position::end_of(point.seq)))
    }

    /// The next batch; `None` when the process ends. Cancel-safe, and after an error it goes on
    /// where it was; after [`ReadError::Trimmed`], with the first batch that is left.
    pub async fn next(&mut self) -> Result<Option<Arc<AppliedBatch>>, ReadError> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                self.seen.insert(batch.slot, batch.point);
                return Ok(Some(batch));
            }
            if let Some(slot) = self.behind.first().copied() {
                self.catch_up(slot).await?;
                continue;
            }
            match self.live.recv().await {
                Ok(Shown::Batch(batch)) => self.take(batch),
                Ok(Shown::Ahead(slot)) => {
                    self.behind.insert(slot);
                }
                Err(broadcast::error::RecvError::Lagged(missed)) => self.lagged(missed),
                Err(broadcast::error::RecvError::Closed) => return Ok(None),
            }
        }
    }

    fn take(&mut self, batch: Arc<AppliedBatch>) {
        let seen = self.seen.get(&batch.slot).copied().unwrap_or_default();
        let ignores_gap = self.logs.saboteur().does(Sabotage::GapIgnored);
        if batch.point.seq == seen.seq + 1 || (ignores_gap && batch.point.seq > seen.seq) {
            self.ready.push_back(batch);
        } else if batch.point.seq > seen.seq {
            self.behind.insert(batch.slot);
        }
    }

    fn lagged(&mut self, missed: u64) {
        metrics::counter!("hanse_bus_missed_total").increment(missed);
        self.behind.extend(self.logs.map().slots());
    }

    /// Reads a page; the slot is behind until a page is empty.
    async fn catch_up(&mut self, slot: Slot) -> Result<(), ReadError> {
        let seen = self.seen.get(&slot).copied().unwrap_or_default();
        let read = self.logs.read_after(slot, seen).await;
        if let Err(ReadError::Trimmed { first, .. }) = &read {
            let before = LogPoint {
                seq: first.seq - 1,
                ..*first
            };
            self.seen.insert(slot, before);
        }
        let batches = read?;
        if batches.is_empty() {
            self.behind.remove(&slot);
        }
        self.ready.extend(batches);
        Ok(())
    }
}
