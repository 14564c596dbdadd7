//! Taking a slot: finding its open segment, raising the epoch, replaying what the archives lack.

use std::collections::HashMap;
use std::sync::Arc;

use hanse_proto::log::{Batch, Entry};
use hanse_store::{Direction, Durability, Outcome, Range, Scan, Store, StoreError, Value};
use prost::Message;

use crate::{
    AppliedBatch, Applier, LogPoint, OpenError, Position, Rows, Slot,
    statements::{Head, Statements, StoredBatch},
    tables::RELAYED,
};

/// What a new owner holds after it has taken a slot.
#[derive(Debug)]
pub(crate) struct OpenSlot {
    pub(crate) segment: i64,
    pub(crate) head: Head,
    /// The last relayed position taken from each source slot.
    pub(crate) relayed: HashMap<u32, i64>,
    /// What was replayed, in order.
    pub(crate) replayed: Vec<Arc<AppliedBatch>>,
}

/// How often a takeover is tried against others before it is given up for now.
const TAKEOVERS_MAX: usize = 8;
/// Batches read at once by a replay; each has at most 128 KiB.
const REPLAY_BATCHES: usize = 32;

/// What opening a slot needs.
pub(crate) struct Opener<'a> {
    pub(crate) store: &'a Arc<dyn Store>,
    pub(crate) statements: &'a Statements,
    pub(crate) applier: &'a dyn Applier,
    pub(crate) slot: Slot,
    pub(crate) owner: &'a str,
    pub(crate) map_version: u32,
}

impl Opener<'_> {
    /// Takes the slot and brings its archives up to its log's tail.
    pub(crate) async fn open(&self) -> Result<OpenSlot, OpenError> {
        self.statements
            .create_slot_row(self.slot, self.map_version)
            .await?;
        let row = self
            .statements
            .slot_row(self.slot)
            .await?
            .unwrap_or_default();
        let (segment, head) = self.take_over(row.segment).await?;
        self.enter_owner(row.epoch, head.epoch).await?;
        let from = LogPoint {
            segment: row.segment,
            seq: row.checkpoint,
        };
        let replayed = self.replay(from, segment, &head).await?;
        let tail = replayed
            .last()
            .map_or(row.checkpoint, |batch| batch.point.seq);
        if tail + 1 != head.next {
            return Err(self.corrupt(tail + 1, "the log ends before its head"));
        }
        let taken = self.relayed().await?;
        Ok(OpenSlot {
            segment,
            head,
            relayed: taken,
            replayed,
        })
    }

    /// Raises the epoch of the open segment, and of its successor where a former owner died
    /// between creating and sealing.
    async fn take_over(&self, from_segment: i64) -> Result<(i64, Head), OpenError> {
        for _ in 0..TAKEOVERS_MAX {
            let (segment, mut head) = self.open_segment(from_segment).await?;
            let outcome = self
                .statements
                .take_over(self.slot, segment, head.epoch)
                .await?;
            if outcome != Outcome::Applied {
                continue;
            }
            head.epoch += 1;
            // The head may have moved between the read and the takeover; from here on it cannot.
            if let Some(now) = self.statements.head(self.slot, segment).await? {
                if now.epoch != head.epoch || now.sealed.is_some() {
                    continue;
                }
                head = now;
            }
            if self.finish_succession(segment, &head).await? {
                return Ok((segment, head));
            }
        }
        Err(self.contended())
    }

    /// A successor that was created but never linked: finish the succession under our epoch.
    /// `false`: look again.
    ///
    /// The successor may have been created long ago, or late by a former owner, before batches that
    /// this segment has by now: its head is set to continue this one before anything links to it.
    /// An epoch above ours says that a newer owner did so already: then it is not ours to touch.
    async fn finish_succession(&self, segment: i64, head: &Head) -> Result<bool, OpenError> {
        let Some(successor) = self.statements.head(self.slot, segment + 1).await? else {
            return Ok(true);
        };
        if successor.epoch > head.epoch {
            return Ok(false);
        }
        let outcome = self
            .statements
            .correct_segment(self.slot, segment + 1, &successor, head)
            .await?;
        if outcome == Outcome::Applied {
            self.statements.seal(self.slot, segment, head).await?;
        }
        Ok(false)
    }

    /// Enters our epoch into the slot's row, without which no checkpoint of ours would move; owners
    /// that took the slot one after the other may come here in another order.
    async fn enter_owner(&self, mut from_epoch: i64, epoch: i64) -> Result<(), OpenError> {
        for _ in 0..TAKEOVERS_MAX {
            let entered = self
                .statements
                .enter_owner(self.slot, from_epoch, epoch, self.owner)
                .await?;
            if entered == Outcome::Applied {
                return Ok(());
            }
            let row = self.statements.slot_row(self.slot).await?;
            from_epoch = row.unwrap_or_default().epoch;
            if from_epoch >= epoch {
                break;
            }
        }
        Err(self.contended())
    }

    fn contended(&self) -> OpenError {
        OpenError::Contended {
            slot: self.slot,
            attempts: TAKEOVERS_MAX,
        }
    }

    async fn open_segment(&self, from_segment: i64) -> Result<(i64, Head), OpenError> {
        let mut segment = from_segment;
        loop {
            match self.statements.head(self.slot, segment).await? {
                Some(Head {
                    sealed: Some(successor),
                    ..
                }) => segment = successor,
                Some(head) => return Ok((segment, head)),
                None => {
                    let first = Head {
                        epoch: 0,
                        next: 1,
                        stamp_end: 0,
                        sealed: None,
                    };
                    self.statements
                        .create_segment(self.slot, segment, &first)
                        .await?;
                }
            }
        }
    }

    /// Applies what follows the checkpoint up to the head that we took: what another owner appends
    /// meanwhile is theirs to apply.
    async fn replay(
        &self,
        from: LogPoint,
        open_segment: i64,
        head: &Head,
    ) -> Result<Vec<Arc<AppliedBatch>>, OpenError> {
        let mut at = from;
        let mut replayed = Vec::new();
        while at.segment <= open_segment && at.seq + 1 < head.next {
            let stored = self
                .statements
                .batches_after(self.slot, at.segment, at.seq, REPLAY_BATCHES)
                .await?;
            if stored.is_empty() {
                at.segment += 1;
                continue;
            }
            for batch in stored.iter().filter(|batch| batch.seq < head.next) {
                if batch.seq != at.seq + 1 {
                    return Err(self.corrupt(at.seq + 1, "the batch is missing"));
                }
                at.seq = batch.seq;
                replayed.push(self.replay_one(at, head.epoch, batch).await?);
            }
        }
        Ok(replayed)
    }

    async fn replay_one(
        &self,
        point: LogPoint,
        epoch: i64,
        stored: &StoredBatch,
    ) -> Result<Arc<AppliedBatch>, OpenError> {
        let entries = decode(stored).map_err(|reason| self.corrupt(point.seq, &reason))?;
        let rows = rows_of(
            self.applier,
            self.slot,
            &entries,
            point.seq,
            stored.stamp_start,
        );
        self.store
            .apply(rows.into_mutations(), Durability::Buffered)
            .await?;
        Ok(Arc::new(AppliedBatch {
            slot: self.slot,
            epoch,
            point,
            entries,
        }))
    }

    async fn relayed(&self) -> Result<HashMap<u32, i64>, StoreError> {
        let scan = Scan {
            table: &RELAYED,
            partition: vec![i64::from(self.slot.0).into()],
            range: Range::all(),
            direction: Direction::Forward,
            limit: Scan::LIMIT_MAX,
        };
        let rows = self.store.scan(scan).await?.rows;
        let pair = |row: &hanse_store::Row| {
            let source = row.clustering.first().and_then(Value::as_i64)?;
            Some((source as u32, row.values.first().and_then(Value::as_i64)?))
        };
        Ok(rows.iter().filter_map(pair).collect())
    }

    fn corrupt(&self, seq: i64, reason: &str) -> OpenError {
        OpenError::Corrupt {
            slot: self.slot,
            seq,
            reason: reason.to_owned(),
        }
    }
}

/// The entries of a stored batch.
pub(crate) fn decode(stored: &StoredBatch) -> Result<Vec<Entry>, String> {
    Batch::decode(stored.body.clone())
        .map(|batch| batch.entries)
        .map_err(|e| e.to_string())
}

/// The rows of a batch: the domain's, and the log's own.
pub(crate) fn rows_of(
    applier: &dyn Applier,
    slot: Slot,
    entries: &[Entry],
    seq: i64,
    stamp_start: i64,
) -> Rows {
    let mut rows = Rows::starting_at(stamp_start);
    for (index, entry) in (0u32..).zip(entries) {
        applier.rows(entry, Position::new(seq, index), &mut rows);
        if let Some(source) = &entry.relay_source {
            let key = hanse_store::Key::new(
                vec![i64::from(slot.0).into()],
                vec![i64::from(source.slot).into()],
            );
            rows.put(&RELAYED, key, vec![source.position.into()]);
        }
    }
    rows
}
