//! What has been applied, as it happens: the in-process bus.
//!
//! Lossy by design, as the cluster's bus is: a subscriber that falls behind, or sees a gap, reads
//! the log. [`Follower`] does that and hands out each batch once, in order.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use hanse_proto::log::Entry;
use hanse_store::StoreError;
use parking_lot::Mutex;
use tokio::sync::broadcast;

use crate::{Position, Slot, SlotLogs};

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

    pub(crate) fn push(&self, batch: Arc<AppliedBatch>) {
        let mut batches = self.batches.lock();
        if batches
            .back()
            .is_some_and(|last| last.point.seq + 1 != batch.point.seq)
        {
            batches.clear();
        }
        batches.push_back(batch);
        if batches.len() > Self::BATCHES_MAX {
            batches.pop_front();
        }
    }

    /// The batches after `seq`, if all of them are still here.
    pub(crate) fn after(&self, seq: i64) -> Option<Vec<Arc<AppliedBatch>>> {
        let batches = self.batches.lock();
        if batches.front()?.point.seq > seq + 1 {
            return None;
        }
        Some(
            batches
                .iter()
                .filter(|batch| batch.point.seq > seq)
                .cloned()
                .collect(),
        )
    }
}

/// Follows every slot live, from where each stands at the start: each batch once, in its slot's
/// order, whatever the bus loses.
#[derive(Debug)]
pub struct Follower {
    logs: SlotLogs,
    live: broadcast::Receiver<Arc<AppliedBatch>>,
    seen: HashMap<Slot, LogPoint>,
    ready: VecDeque<Arc<AppliedBatch>>,
}

impl Follower {
    /// Subscribes first, then takes the positions: nothing falls between.
    pub(crate) fn new(logs: SlotLogs, live: broadcast::Receiver<Arc<AppliedBatch>>) -> Self {
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
        }
    }

    /// Where each slot stood when following began: everything after it is handed out.
    pub fn positions(&self) -> impl Iterator<Item = (Slot, Position)> {
        self.seen
            .iter()
            .map(|(slot, point)| (*slot, Position::end_of(point.seq)))
    }

    /// The next batch; `None` when the process ends.
    pub async fn next(&mut self) -> Result<Option<Arc<AppliedBatch>>, StoreError> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                self.seen.insert(batch.slot, batch.point);
                return Ok(Some(batch));
            }
            match self.live.recv().await {
                Ok(batch) => self.take(batch).await?,
                Err(broadcast::error::RecvError::Lagged(missed)) => self.lagged(missed).await?,
                Err(broadcast::error::RecvError::Closed) => return Ok(None),
            }
        }
    }

    async fn take(&mut self, batch: Arc<AppliedBatch>) -> Result<(), StoreError> {
        let seen = self.seen.get(&batch.slot).copied().unwrap_or_default();
        if batch.point.seq == seen.seq + 1 {
            self.ready.push_back(batch);
        } else if batch.point.seq > seen.seq {
            self.catch_up(batch.slot).await?;
        }
        Ok(())
    }

    async fn lagged(&mut self, missed: u64) -> Result<(), StoreError> {
        metrics::counter!("hanse_bus_missed_total").increment(missed);
        for slot in self.logs.map().slots() {
            self.catch_up(slot).await?;
        }
        Ok(())
    }

    async fn catch_up(&mut self, slot: Slot) -> Result<(), StoreError> {
        let seen = self.seen.get(&slot).copied().unwrap_or_default();
        let batches = self.logs.read_after(slot, seen).await?;
        self.ready.extend(batches);
        Ok(())
    }
}
