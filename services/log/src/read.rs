//! Reading what has been applied, from memory or from the log.

use std::sync::Arc;

use hanse_store::StoreError;

use crate::{
    AppliedBatch, LogPoint, Position, ReadError, Slot, replay::decode, slots::Inner,
    statements::StoredBatch, tables::LOG,
};

/// Batches read from the log at once.
const READ_BATCHES: usize = 32;

/// Applied batches after a point, without a gap, at least one page of them if there are any.
pub(crate) async fn read_after(
    inner: &Inner,
    slot: Slot,
    after: LogPoint,
) -> Result<Vec<Arc<AppliedBatch>>, ReadError> {
    let Some(shared) = inner.slot(slot) else {
        return Ok(Vec::new());
    };
    let applied = shared.applied_point();
    if after.seq >= applied.seq {
        return Ok(Vec::new());
    }
    if let Some(batches) = shared.recent.after(after.seq, applied.seq) {
        return Ok(batches);
    }
    let batches = read_stored(inner, slot, after, applied).await?;
    match batches.first() {
        Some(first) if first.point.seq == after.seq + 1 => Ok(batches),
        first => gap(inner, slot, after, first.map(|batch| batch.point)).await,
    }
}

/// Tells a reader that comes too late from one whose replica does.
async fn gap(
    inner: &Inner,
    slot: Slot,
    after: LogPoint,
    first: Option<LogPoint>,
) -> Result<Vec<Arc<AppliedBatch>>, ReadError> {
    let row = inner.statements.slot_row(slot).await?.unwrap_or_default();
    match first {
        Some(first) if row.trimmed > after.segment => Err(ReadError::Trimmed { slot, first }),
        _ => Err(ReadError::NotYet { slot }),
    }
}

async fn read_stored(
    inner: &Inner,
    slot: Slot,
    after: LogPoint,
    applied: LogPoint,
) -> Result<Vec<Arc<AppliedBatch>>, StoreError> {
    let mut segment = after.segment;
    while segment <= applied.segment {
        let statements = &inner.statements;
        let stored = statements
            .batches_after(slot, segment, after.seq, READ_BATCHES)
            .await?;
        let shown = stored.iter().take_while(|batch| batch.seq <= applied.seq);
        let batches: Vec<_> = shown
            .map(|batch| read(slot, segment, batch))
            .collect::<Result<_, _>>()?;
        if !batches.is_empty() {
            return Ok(batches);
        }
        // An old reader need not ask for every segment that is gone.
        let row = statements.slot_row(slot).await?.unwrap_or_default();
        segment = row.trimmed.max(segment + 1);
    }
    Ok(Vec::new())
}

fn read(slot: Slot, segment: i64, stored: &StoredBatch) -> Result<Arc<AppliedBatch>, StoreError> {
    let entries = decode(stored).map_err(|reason| StoreError::Corrupt {
        table: LOG.name,
        reason,
    })?;
    let point = LogPoint {
        segment,
        seq: stored.seq,
    };
    Ok(Arc::new(AppliedBatch {
        slot,
        epoch: 0,
        point,
        entries,
    }))
}

impl Inner {
    /// Returns when the slot is applied up to the position. Cancel-safe.
    pub(crate) async fn wait_applied(&self, slot: Slot, position: Position) {
        if let Some(shared) = self.slot(slot) {
            let mut applied = shared.applied.subscribe();
            let _ = applied
                .wait_for(|point| Position::end_of(point.seq) >= position)
                .await;
        }
    }
}
