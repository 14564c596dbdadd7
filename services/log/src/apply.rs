//! The applying half of a served slot: writes rows, advances `applied` in the log's order, answers,
//! publishes, and moves the checkpoint.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, future::BoxFuture, stream::FuturesOrdered};
use hanse_store::{Durability, Mutation, Outcome, StoreError};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::{
    AppendError, AppliedBatch, LogPoint, Position,
    heads::put_head,
    sabotage::Sabotage,
    serving::OpenSlot,
    slots::{Inner, SlotShared},
};

/// Batches whose rows are written at once.
const GROUP_MAX: usize = 8;
/// Groups whose rows are being written; they are shown in the log's order all the same.
const GROUPS_MAX: usize = 4;
/// The checkpoint lags at most so many batches …
const CHECKPOINT_BATCHES: i64 = 256;
/// … and at most so many periods.
const CHECKPOINT_PERIODS: u32 = 2;
/// How often the slot's row in `heads` follows, while the slot is active.
const PERIOD: Duration = Duration::from_secs(1);
/// How often a group of rows is written before the slot is given up.
const APPLIES_MAX: u32 = 8;

/// Who waits, and for what.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) done: oneshot::Sender<Result<Position, AppendError>>,
    pub(crate) position: Position,
}

pub(crate) fn refuse(replies: Vec<Reply>, error: &AppendError) {
    for reply in replies {
        let _ = reply.done.send(Err(error.clone()));
    }
}

/// A batch that is in the log, with the rows that it writes.
#[derive(Debug)]
pub(crate) struct Landed {
    pub(crate) batch: Arc<AppliedBatch>,
    pub(crate) mutations: Vec<Mutation>,
    pub(crate) stamp_end: i64,
    /// Each ends when the batch is shown.
    pub(crate) spans: Vec<Span>,
}

/// What is to be applied; without a batch, only barriers.
#[derive(Debug)]
pub(crate) struct Apply {
    pub(crate) landed: Option<Landed>,
    pub(crate) replies: Vec<Reply>,
}

/// A group whose rows have been written, or could not be.
struct Group {
    applies: Vec<Apply>,
    written: bool,
}

/// Applies a served slot.
pub(crate) struct Applying {
    inner: Arc<Inner>,
    shared: Arc<SlotShared>,
    epoch: i64,
    lost: CancellationToken,
    /// How far the archives are known to be on disk, for the trimmer.
    durable: watch::Sender<LogPoint>,
    /// The last batch that was shown.
    at: LogPoint,
    /// The stamp of `heads` at `at`.
    stamp: i64,
    /// Up to where `heads` follows.
    headed: i64,
    periods: u32,
}

impl Applying {
    pub(crate) fn start(
        inner: &Arc<Inner>,
        shared: &Arc<SlotShared>,
        open: &OpenSlot,
        durable: watch::Sender<LogPoint>,
        lost: CancellationToken,
    ) -> Self {
        Self {
            inner: Arc::clone(inner),
            shared: Arc::clone(shared),
            epoch: open.head.epoch,
            lost,
            durable,
            at: LogPoint {
                segment: open.segment,
                seq: open.head.next - 1,
            },
            stamp: open.head.stamp_end,
            // A former owner may have ended before it wrote its last row of `heads`.
            headed: 0,
            periods: 0,
        }
    }

    /// Applies until the appender hangs up or rows cannot be written.
    pub(crate) async fn run(mut self, mut queue: mpsc::Receiver<Apply>) {
        let mut period = tokio::time::interval(PERIOD);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut writing: FuturesOrdered<BoxFuture<'static, Group>> = FuturesOrdered::new();
        let mut open = true;
        let mut group = Vec::with_capacity(GROUP_MAX);
        while open || !writing.is_empty() {
            tokio::select! {
                biased;
                Some(group) = writing.next() => {
                    if !self.show(group).await {
                        self.lost.cancel();
                        return;
                    }
                }
                received = queue.recv_many(&mut group, GROUP_MAX),
                    if open && writing.len() < GROUPS_MAX =>
                {
                    open = received > 0;
                    if open {
                        writing.push_back(self.write(std::mem::take(&mut group)));
                    }
                }
                _ = period.tick() => self.tick().await,
            }
        }
        self.checkpoint().await;
        self.head().await;
    }

    /// Writes the rows of a group; not awaited before the next group starts.
    fn write(&self, mut applies: Vec<Apply>) -> BoxFuture<'static, Group> {
        let landed = applies.iter_mut().filter_map(|apply| apply.landed.as_mut());
        let mutations: Vec<Mutation> = landed
            .flat_map(|landed| std::mem::take(&mut landed.mutations))
            .collect();
        if self.inner.saboteur.does(Sabotage::PublishBeforeApplied) {
            for landed in applies.iter().filter_map(|apply| apply.landed.as_ref()) {
                self.inner.publish(&self.shared, &landed.batch);
            }
        }
        let (inner, slot) = (Arc::clone(&self.inner), self.shared.slot.0);
        Box::pin(async move {
            let written = mutations.is_empty() || write_rows(&inner, slot, mutations).await;
            Group { applies, written }
        })
    }

    /// Shows a group. `false`: its rows could not be written, so nothing after it can be shown.
    async fn show(&mut self, group: Group) -> bool {
        for Apply { landed, replies } in group.applies {
            if !group.written {
                let slot = self.shared.slot;
                refuse(replies, &AppendError::SlotLost { slot });
                continue;
            }
            if let Some(Landed {
                batch,
                stamp_end,
                spans,
                ..
            }) = landed
            {
                (self.at, self.stamp) = (batch.point, stamp_end);
                self.inner.publish(&self.shared, &batch);
                drop(spans);
            }
            for Reply { done, position } in replies {
                let _ = done.send(Ok(position));
            }
        }
        if group.written && self.at.seq - self.durable.borrow().seq >= CHECKPOINT_BATCHES {
            self.checkpoint().await;
        }
        group.written
    }

    async fn tick(&mut self) {
        self.head().await;
        self.periods += 1;
        if self.periods >= CHECKPOINT_PERIODS {
            self.checkpoint().await;
        }
    }

    /// Lets `heads` follow, so that readers elsewhere, if there are any, find what the bus lost.
    async fn head(&mut self) {
        let silent = self.inner.saboteur.does(Sabotage::SilentOwner);
        let alone = self.inner.cluster.is_none();
        if self.at.seq == self.headed || alone || silent {
            return;
        }
        match self.put_head().await {
            Ok(()) => self.headed = self.at.seq,
            Err(error) => tracing::warn!(slot = self.shared.slot.0, %error, "heads did not follow"),
        }
    }

    /// The archives first: a row of `heads` that outlives them would show what is not there.
    async fn put_head(&self) -> Result<(), StoreError> {
        if !self.inner.saboteur.does(Sabotage::HeadBeforeSync) {
            self.inner.store.sync().await?;
        }
        put_head(&self.inner, self.shared.slot, self.at, self.stamp).await
    }

    /// Makes the archives durable, then moves the slot's row; a failure only means more replay.
    async fn checkpoint(&mut self) {
        self.periods = 0;
        if self.at.seq == self.durable.borrow().seq {
            return;
        }
        match self.move_checkpoint().await {
            Ok(Outcome::Applied) => {
                self.durable.send_replace(self.at);
            }
            other => {
                let slot = self.shared.slot.0;
                tracing::warn!(slot, ?other, "the checkpoint did not move");
                self.look_at_checkpoint().await;
            }
        }
    }

    async fn move_checkpoint(&self) -> Result<Outcome, StoreError> {
        if !self.inner.saboteur.does(Sabotage::CheckpointBeforeSync) {
            self.inner.store.sync().await?;
        }
        let from = *self.durable.borrow();
        let statements = &self.inner.statements;
        statements
            .checkpoint(self.shared.slot, self.epoch, from, self.at)
            .await
    }

    /// Where it stands after all: the next move starts there.
    async fn look_at_checkpoint(&self) {
        let row = self.inner.statements.slot_row(self.shared.slot).await;
        if let Ok(Some(row)) = row
            && row.epoch == self.epoch
        {
            self.durable.send_replace(LogPoint {
                segment: row.segment,
                seq: row.checkpoint,
            });
        }
    }
}

async fn write_rows(inner: &Inner, slot: u32, mutations: Vec<Mutation>) -> bool {
    for attempt in 0..APPLIES_MAX {
        let applied = inner.store.apply(mutations.clone(), Durability::Buffered);
        match applied.await {
            Ok(()) => return true,
            Err(error) => {
                tracing::warn!(slot, %error, "applying a batch failed");
                tokio::time::sleep(Duration::from_millis(10 << attempt)).await;
            }
        }
    }
    inner.saboteur.does(Sabotage::FailedRowsShown)
}
