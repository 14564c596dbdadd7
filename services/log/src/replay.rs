//! Bringing the archives up to the log's tail before a slot is served.

use std::{collections::HashMap, sync::Arc};

use hanse_proto::log::{Batch, Entry};
use hanse_store::{Direction, Durability, Key, Range, Scan, StoreError, Value};
use prost::Message;

use crate::{
    AppliedBatch, Applier, LogPoint, OpenError, Position, Rows, Slot,
    relay::Taken,
    sabotage::Sabotage,
    slots::{Inner, SlotShared},
    statements::{Head, StoredBatch},
    tables::RELAYED,
};

/// Batches that are read, and whose rows are written, at once; each has at most 128 KiB.
const REPLAY_BATCHES: usize = 16;

/// Applies what follows the checkpoint, a page at a time.
pub(crate) struct Replay<'a> {
    pub(crate) inner: &'a Inner,
    pub(crate) shared: &'a SlotShared,
    /// Ours.
    pub(crate) epoch: i64,
}

impl Replay<'_> {
    /// Applies and shows everything after `from` up to the head that we took. The rows of a page
    /// are written side by side: their stamps say which of two is the later.
    pub(crate) async fn run(
        &self,
        from: LogPoint,
        open_segment: i64,
        head: &Head,
    ) -> Result<(), OpenError> {
        let mut at = from;
        if self.inner.saboteur.does(Sabotage::ReplaySkipsOne) {
            at.seq += 1;
        }
        while at.seq + 1 < head.next {
            if at.segment > open_segment {
                return Err(self.corrupt(at.seq + 1, "the log ends before its head"));
            }
            let slot = self.shared.slot;
            let statements = &self.inner.statements;
            let stored = statements
                .batches_after(slot, at.segment, at.seq, REPLAY_BATCHES)
                .await?;
            if stored.is_empty() {
                at.segment += 1;
                continue;
            }
            at = self.page(at, head, &stored).await?;
        }
        Ok(())
    }

    async fn page(
        &self,
        mut at: LogPoint,
        head: &Head,
        stored: &[StoredBatch],
    ) -> Result<LogPoint, OpenError> {
        let mut mutations = Vec::new();
        let mut batches = Vec::new();
        for batch in stored.iter().filter(|batch| batch.seq < head.next) {
            if batch.seq != at.seq + 1 {
                return Err(self.corrupt(at.seq + 1, "the batch is missing"));
            }
            at.seq = batch.seq;
            let entries = decode(batch).map_err(|reason| self.corrupt(at.seq, &reason))?;
            let (slot, epoch) = (self.shared.slot, self.epoch);
            let applier = self.inner.applier.as_ref();
            let rows = rows_of(applier, slot, &entries, at.seq, batch.stamp_start);
            mutations.extend(rows.into_mutations());
            batches.push(Arc::new(AppliedBatch {
                slot,
                epoch,
                point: at,
                entries,
            }));
        }
        if self.inner.saboteur.does(Sabotage::ReplayShowsFirst) {
            for batch in &batches {
                self.inner.publish(self.shared, batch);
            }
        }
        let store = &self.inner.store;
        store.apply(mutations, Durability::Buffered).await?;
        for batch in &batches {
            self.inner.publish(self.shared, batch);
        }
        metrics::counter!("hanse_log_replayed_total").increment(batches.len() as u64);
        Ok(at)
    }

    fn corrupt(&self, seq: i64, reason: &str) -> OpenError {
        OpenError::Corrupt {
            slot: self.shared.slot,
            seq,
            reason: reason.to_owned(),
        }
    }
}

/// The last relayed position taken from each source slot.
pub(crate) async fn taken(inner: &Inner, slot: Slot) -> Result<HashMap<u32, Taken>, StoreError> {
    let scan = Scan {
        table: &RELAYED,
        partition: vec![i64::from(slot.0).into()],
        range: Range::all(),
        direction: Direction::Forward,
        limit: Scan::LIMIT_MAX,
    };
    let rows = inner.statements.rows(scan).await?;
    let pair = |row: &hanse_store::Row| {
        let source = row.clustering.first().and_then(Value::as_i64)?;
        let position = row.values.first().and_then(Value::as_i64)?;
        let part = row.values.get(1).and_then(Value::as_i64);
        Some((source as u32, (position, part.unwrap_or_default())))
    };
    Ok(rows.iter().filter_map(pair).collect())
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
            let key = Key::new(
                vec![i64::from(slot.0).into()],
                vec![i64::from(source.slot).into()],
            );
            let part = i64::from(source.part).into();
            rows.put(&RELAYED, key, vec![source.position.into(), part]);
        }
    }
    rows
}
