//! The statements of the slot log, one function each; `docs/log.md` gives their CQL.

use std::sync::Arc;

use bytes::Bytes;
use hanse_store::{
    ConditionalBatch, ConditionalStep, Consistency, Direction, Key, Outcome, Range, Row, Scan,
    Store, StoreError, Value,
};

use crate::{
    Slot,
    sabotage::{Sabotage, Saboteur},
    tables::LOG,
};

mod cursors;
mod slot_rows;

pub(crate) use slot_rows::SlotRow;

/// The head of a segment: the static columns of its partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) epoch: i64,
    /// The sequence number of the next batch; -1 once sealed.
    pub(crate) next: i64,
    pub(crate) stamp_end: i64,
    pub(crate) sealed: Option<i64>,
    /// Of the bodies in the segment.
    pub(crate) bytes: i64,
}

impl Head {
    /// Whether this successor's head goes on where a segment's head stands.
    pub(crate) fn continues(&self, before: &Self) -> bool {
        let place = |head: &Self| (head.epoch, head.next, head.stamp_end);
        place(self) == place(before)
    }
}

/// A batch at its place.
#[derive(Clone, Debug)]
pub(crate) struct Proposal {
    pub(crate) slot: Slot,
    pub(crate) segment: i64,
    pub(crate) epoch: i64,
    pub(crate) seq: i64,
    pub(crate) batch_id: Bytes,
    pub(crate) stamp_start: i64,
    pub(crate) stamp_end: i64,
    /// Of the bodies in the segment, this one included.
    pub(crate) segment_bytes: i64,
    pub(crate) body: Bytes,
}

/// A batch as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredBatch {
    pub(crate) seq: i64,
    pub(crate) batch_id: Bytes,
    pub(crate) stamp_start: i64,
    pub(crate) body: Bytes,
}

/// The log's statements over a store.
#[derive(Clone)]
pub(crate) struct Statements {
    store: Arc<dyn Store>,
    saboteur: Saboteur,
}

fn partition(slot: Slot, segment: i64) -> Vec<Value> {
    vec![Value::BigInt(i64::from(slot.0)), Value::BigInt(segment)]
}

fn bigint(row: &Row, statics: bool, index: usize) -> Option<i64> {
    let columns = if statics { &row.statics } else { &row.values };
    columns.get(index).and_then(Value::as_i64)
}

fn corrupt(table: &'static str, reason: &str) -> StoreError {
    StoreError::Corrupt {
        table,
        reason: reason.to_owned(),
    }
}

fn stored_batch(row: &Row) -> Result<StoredBatch, StoreError> {
    let blob = |index: usize| row.values.get(index).and_then(Value::as_bytes).cloned();
    let seq = row.clustering.first().and_then(Value::as_i64);
    let (Some(seq), Some(batch_id), Some(stamp_start), Some(body)) =
        (seq, blob(0), bigint(row, false, 1), blob(2))
    else {
        return Err(corrupt(LOG.name, "a batch lacks a column"));
    };
    Ok(StoredBatch {
        seq,
        batch_id,
        stamp_start,
        body,
    })
}

impl Statements {
    pub(crate) fn new(store: Arc<dyn Store>, saboteur: Saboteur) -> Self {
        Self { store, saboteur }
    }

    /// A segment's head, read serially.
    pub(crate) async fn head(&self, slot: Slot, segment: i64) -> Result<Option<Head>, StoreError> {
        let key = Key::partition(partition(slot, segment));
        let Some(row) = self.store.get(&LOG, &key, Consistency::Serial).await? else {
            return Ok(None);
        };
        let Some(epoch) = bigint(&row, true, 0) else {
            return Ok(None);
        };
        let (Some(next), Some(stamp_end)) = (bigint(&row, true, 1), bigint(&row, true, 2)) else {
            return Err(corrupt(LOG.name, "a head lacks a column"));
        };
        Ok(Some(Head {
            epoch,
            next,
            stamp_end,
            sealed: bigint(&row, true, 4),
            bytes: bigint(&row, true, 5).unwrap_or_default(),
        }))
    }

    /// Creates a segment's head, if there is none.
    pub(crate) async fn create_segment(
        &self,
        slot: Slot,
        segment: i64,
        head: &Head,
    ) -> Result<Outcome, StoreError> {
        let carries_on = !self.saboteur.does(Sabotage::SuccessorWithoutStamps);
        let stamp_end = if carries_on { head.stamp_end } else { 0 };
        let set = vec![
            ("epoch", head.epoch.into()),
            ("next", head.next.into()),
            ("stamp_end", stamp_end.into()),
            ("bytes", 0.into()),
        ];
        self.one_step(
            slot,
            segment,
            ConditionalStep::InsertStaticsIfNotExists { set },
        )
        .await
    }

    /// Takes a segment over: raises its epoch.
    pub(crate) async fn take_over(
        &self,
        slot: Slot,
        segment: i64,
        from_epoch: i64,
        epoch: i64,
    ) -> Result<Outcome, StoreError> {
        let step = ConditionalStep::UpdateStatics {
            set: vec![("epoch", epoch.into())],
            conditions: vec![("epoch", from_epoch.into())],
        };
        self.one_step(slot, segment, step).await
    }

    /// Appends a batch at the head.
    pub(crate) async fn append(&self, proposal: &Proposal) -> Result<Outcome, StoreError> {
        let mut conditions = Vec::with_capacity(2);
        if !self.saboteur.does(Sabotage::AppendWithoutEpoch) {
            conditions.push(("epoch", proposal.epoch.into()));
        }
        if !self.saboteur.does(Sabotage::AppendWithoutNext) {
            conditions.push(("next", proposal.seq.into()));
        }
        let head = ConditionalStep::UpdateStatics {
            set: vec![
                ("next", (proposal.seq + 1).into()),
                ("stamp_end", proposal.stamp_end.into()),
                ("batch_id", proposal.batch_id.clone().into()),
                ("bytes", proposal.segment_bytes.into()),
            ],
            conditions,
        };
        let row = ConditionalStep::Insert {
            clustering: vec![proposal.seq.into()],
            set: vec![
                ("batch", proposal.batch_id.clone().into()),
                ("stamp_start", proposal.stamp_start.into()),
                ("body", proposal.body.clone().into()),
            ],
        };
        let partition = partition(proposal.slot, proposal.segment);
        let batch = ConditionalBatch {
            table: &LOG,
            partition,
            steps: vec![head, row],
        };
        self.store.conditional(batch).await
    }

    /// Seals a segment in favour of its successor.
    pub(crate) async fn seal(
        &self,
        slot: Slot,
        segment: i64,
        head: &Head,
    ) -> Result<Outcome, StoreError> {
        let step = ConditionalStep::UpdateStatics {
            set: vec![("sealed", (segment + 1).into()), ("next", (-1).into())],
            conditions: vec![("epoch", head.epoch.into()), ("next", head.next.into())],
        };
        self.one_step(slot, segment, step).await
    }

    /// Makes the head of a segment that nothing links to yet continue `head`, under its epoch.
    pub(crate) async fn correct_segment(
        &self,
        slot: Slot,
        segment: i64,
        found: &Head,
        head: &Head,
    ) -> Result<Outcome, StoreError> {
        let step = ConditionalStep::UpdateStatics {
            set: vec![
                ("epoch", head.epoch.into()),
                ("next", head.next.into()),
                ("stamp_end", head.stamp_end.into()),
            ],
            conditions: vec![("epoch", found.epoch.into()), ("next", found.next.into())],
        };
        self.one_step(slot, segment, step).await
    }

    /// Takes a sealed segment out of the log. Of the first one the head stays for ever: it is
    /// created without knowing what was before, and who was late to do so would begin the log anew.
    pub(crate) async fn trim(&self, slot: Slot, segment: i64) -> Result<Outcome, StoreError> {
        let sealed = vec![("sealed", (segment + 1).into())];
        let head_stays = segment == 0 && !self.saboteur.does(Sabotage::TrimFirstHead);
        let head = if head_stays {
            ConditionalStep::UpdateStatics {
                set: sealed.clone(),
                conditions: sealed,
            }
        } else {
            ConditionalStep::DeleteStatics { conditions: sealed }
        };
        self.store
            .conditional(ConditionalBatch {
                table: &LOG,
                partition: partition(slot, segment),
                steps: vec![head, ConditionalStep::DeleteRows],
            })
            .await
    }

    /// The batch at a sequence number, read serially: settles whose it is.
    pub(crate) async fn batch(
        &self,
        slot: Slot,
        segment: i64,
        seq: i64,
    ) -> Result<Option<StoredBatch>, StoreError> {
        let key = Key::new(partition(slot, segment), vec![seq.into()]);
        let row = self.store.get(&LOG, &key, Consistency::Serial).await?;
        row.as_ref().map(stored_batch).transpose()
    }

    /// Batches of a segment after a sequence number, in order, at most `limit`.
    pub(crate) async fn batches_after(
        &self,
        slot: Slot,
        segment: i64,
        seq: i64,
        limit: usize,
    ) -> Result<Vec<StoredBatch>, StoreError> {
        let scan = Scan {
            table: &LOG,
            partition: partition(slot, segment),
            range: Range::after(vec![seq.into()]),
            direction: Direction::Forward,
            limit,
        };
        self.store
            .scan(scan)
            .await?
            .rows
            .iter()
            .map(stored_batch)
            .collect()
    }

    /// Every row of a range, however many pages it takes.
    pub(crate) async fn rows(&self, mut scan: Scan) -> Result<Vec<Row>, StoreError> {
        let mut rows: Vec<Row> = Vec::new();
        loop {
            let page = self.store.scan(scan.clone()).await?;
            rows.extend(page.rows);
            let goes_on = page.more && !self.saboteur.does(Sabotage::FirstPageOnly);
            let Some(last) = rows.last().filter(|_| goes_on) else {
                return Ok(rows);
            };
            scan.range.from.clone_from(&last.clustering);
            scan.range.from_exclusive = true;
        }
    }

    async fn one_step(
        &self,
        slot: Slot,
        segment: i64,
        step: ConditionalStep,
    ) -> Result<Outcome, StoreError> {
        let partition = partition(slot, segment);
        self.store
            .conditional(ConditionalBatch {
                table: &LOG,
                partition,
                steps: vec![step],
            })
            .await
    }
}
