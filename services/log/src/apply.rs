//! The applying half of a served slot: writes rows in the log's order, advances `applied`, answers,
//! publishes, and moves the checkpoint.

use std::{sync::Arc, time::Duration};

use hanse_store::{Durability, Mutation, Outcome};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    AppendError, AppliedBatch, LogPoint, Position,
    logs::{Inner, SlotShared},
    writer::refuse,
};

/// Batches applied in one write.
const GROUP_MAX: usize = 8;
/// The checkpoint lags at most so many batches …
const CHECKPOINT_BATCHES: i64 = 256;
/// … and at most so long.
const CHECKPOINT_PERIOD: Duration = Duration::from_secs(2);
/// How often a group of rows is written before the slot is given up.
const APPLIES_MAX: u32 = 8;

/// Who waits, and for what.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) done: oneshot::Sender<Result<Position, AppendError>>,
    pub(crate) position: Position,
}

/// A batch that is in the log; `None`: only barriers.
#[derive(Debug)]
pub(crate) struct Apply {
    pub(crate) batch: Option<Arc<AppliedBatch>>,
    pub(crate) mutations: Vec<Mutation>,
    pub(crate) replies: Vec<Reply>,
}

/// Applies until the appender hangs up or the slot is lost.
pub(crate) async fn apply_loop(
    inner: Arc<Inner>,
    shared: Arc<SlotShared>,
    mut queue: mpsc::Receiver<Apply>,
    epoch: i64,
    lost: CancellationToken,
) {
    let at = shared.applied_point();
    let mut checkpoint = Checkpoint {
        inner: &inner,
        shared: &shared,
        epoch,
        at,
        done: at.seq,
    };
    let mut period = tokio::time::interval(CHECKPOINT_PERIOD);
    let mut group = Vec::with_capacity(GROUP_MAX);
    loop {
        tokio::select! {
            received = queue.recv_many(&mut group, GROUP_MAX) => {
                if received == 0 {
                    return checkpoint.write().await;
                }
            }
            _ = period.tick() => checkpoint.write().await,
        }
        if !apply_group(&inner, &shared, &mut group).await {
            lost.cancel();
            return;
        }
        checkpoint.at = shared.applied_point();
        if checkpoint.at.seq - checkpoint.done >= CHECKPOINT_BATCHES {
            checkpoint.write().await;
        }
    }
}

/// Writes a group's rows, then shows it. `false`: the rows could not be written.
async fn apply_group(inner: &Inner, shared: &SlotShared, group: &mut Vec<Apply>) -> bool {
    let mutations: Vec<Mutation> = group
        .iter_mut()
        .flat_map(|apply| std::mem::take(&mut apply.mutations))
        .collect();
    let written = mutations.is_empty() || write_rows(inner, shared, mutations).await;
    for Apply { batch, replies, .. } in group.drain(..) {
        if !written {
            refuse(replies, &AppendError::SlotLost { slot: shared.slot });
            continue;
        }
        if let Some(batch) = batch {
            inner.publish(shared, &batch);
        }
        for Reply { done, position } in replies {
            let _ = done.send(Ok(position));
        }
    }
    written
}

async fn write_rows(inner: &Inner, shared: &SlotShared, mutations: Vec<Mutation>) -> bool {
    for attempt in 0..APPLIES_MAX {
        match inner
            .store
            .apply(mutations.clone(), Durability::Buffered)
            .await
        {
            Ok(()) => return true,
            Err(error) => {
                tracing::warn!(slot = shared.slot.0, %error, "applying a batch failed");
                tokio::time::sleep(Duration::from_millis(10 << attempt)).await;
            }
        }
    }
    false
}

/// How far the archives are known to be on disk.
struct Checkpoint<'a> {
    inner: &'a Inner,
    shared: &'a SlotShared,
    epoch: i64,
    at: LogPoint,
    done: i64,
}

impl Checkpoint<'_> {
    /// Makes the archives durable, then moves the slot's row; a failure only means more replay.
    async fn write(&mut self) {
        if self.at.seq == self.done {
            return;
        }
        let slot = self.shared.slot;
        let moved = match self.inner.store.sync().await {
            Ok(()) => {
                let LogPoint { segment, seq } = self.at;
                self.inner
                    .statements
                    .checkpoint(slot, self.epoch, segment, seq)
                    .await
            }
            Err(error) => Err(error),
        };
        match moved {
            Ok(Outcome::Applied) => self.done = self.at.seq,
            other => tracing::warn!(slot = slot.0, ?other, "the checkpoint did not move"),
        }
    }
}
