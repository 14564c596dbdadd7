//! From taking a slot to giving it up: the task that serves one slot.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    LogPoint, OpenError,
    appender::Appender,
    apply::{Apply, Applying},
    claim::{SlotOwner, claim, hand_on},
    replay::{Replay, taken},
    slots::{Inner, SlotShared},
    statements::SlotRow,
    takeover::Takeover,
    trim::Trimmer,
};

/// Batches that may be appended and not yet applied.
const APPLY_QUEUE_LEN: usize = 32;

/// Why serving a slot ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Somebody else's, or not to be found out: it is for the next owner to look.
    Lost,
    /// Everything that was taken is applied and checkpointed.
    Released,
}

/// What a new owner holds after it has taken a slot.
#[derive(Debug)]
pub(crate) struct OpenSlot {
    pub(crate) segment: i64,
    pub(crate) head: crate::statements::Head,
    /// The last relayed position taken from each source slot.
    pub(crate) relayed: std::collections::HashMap<u32, crate::relay::Taken>,
    /// The slot's row as claimed.
    pub(crate) row: SlotRow,
}

/// Serves one slot of this process, once.
pub(crate) struct Serving {
    pub(crate) inner: Arc<Inner>,
    pub(crate) shared: Arc<SlotShared>,
}

impl Serving {
    /// Takes the slot, says whether that worked, and serves it until it is released or lost.
    pub(crate) async fn run(
        self,
        observed: SlotOwner,
        opened: oneshot::Sender<Result<(), OpenError>>,
    ) {
        // Whatever ends this task, a panic included, the slot can be served again.
        let idle = IdleOnDrop(&self);
        let open = match self.open(&observed).await {
            Ok(open) => open,
            Err(error) => {
                drop(idle);
                let _ = opened.send(Err(error));
                return;
            }
        };
        let epoch = open.head.epoch;
        let end = self.serve(open, opened).await;
        if end == End::Released {
            let successor = self.shared.successor.lock().clone();
            hand_on(&self.inner, self.shared.slot, epoch, &successor).await;
        }
        tracing::info!(
            slot = self.shared.slot.0,
            slot.epoch = epoch,
            ?end,
            "no longer served"
        );
    }

    async fn open(&self, observed: &SlotOwner) -> Result<OpenSlot, OpenError> {
        let row = claim(&self.inner, self.shared.slot, observed).await?;
        let epoch = row.epoch;
        match self.take(row).await {
            Err(corrupt @ OpenError::Corrupt { .. }) => Err(self.explain(corrupt, epoch).await?),
            taken => taken,
        }
    }

    /// Whoever took the slot from us meanwhile may have trimmed what we miss.
    async fn explain(&self, corrupt: OpenError, epoch: i64) -> Result<OpenError, OpenError> {
        let slot = self.shared.slot;
        let row = self.inner.statements.slot_row(slot).await?;
        let is_ours = row.is_some_and(|row| row.epoch == epoch);
        let contended = OpenError::Contended { slot };
        Ok(if is_ours { corrupt } else { contended })
    }

    async fn take(&self, row: SlotRow) -> Result<OpenSlot, OpenError> {
        let (inner, slot) = (&self.inner, self.shared.slot);
        let takeover = Takeover {
            statements: &inner.statements,
            slot,
            epoch: row.epoch,
            saboteur: inner.saboteur,
        };
        let (segment, head) = takeover.run(&row).await?;
        let replay = Replay {
            inner,
            shared: &self.shared,
            epoch: row.epoch,
        };
        let from = LogPoint {
            segment: row.segment,
            seq: row.checkpoint,
        };
        replay.run(from, segment, &head).await?;
        let relayed = taken(inner, slot).await?;
        metrics::counter!("hanse_log_takeovers_total").increment(1);
        Ok(OpenSlot {
            segment,
            head,
            relayed,
            row,
        })
    }

    async fn serve(&self, open: OpenSlot, opened: oneshot::Sender<Result<(), OpenError>>) -> End {
        let tail = LogPoint {
            segment: open.segment,
            seq: open.head.next - 1,
        };
        self.inner.show_point(&self.shared, tail);
        let queue = self.shared.start_serving(open.head.epoch);
        self.inner.changed();
        let lost = CancellationToken::new();
        let _consumers = self.start_consumers();
        let (apply, applies) = mpsc::channel(APPLY_QUEUE_LEN);
        let trimmer = Trimmer::start(&self.inner, &self.shared, &open.row, lost.clone());
        let applying = Applying::start(&self.inner, &self.shared, &open, trimmer, lost.clone());
        let applying = self.inner.tasks.spawn("slot-apply", applying.run(applies));
        let _ = opened.send(Ok(()));
        let end = self.append(open, queue, apply, &lost).await;
        self.shared.stop_taking();
        // What was appended gets its rows and its answer before anybody else takes the slot here.
        let _ = applying.await;
        let applied_all = !lost.is_cancelled();
        lost.cancel();
        if applied_all { end } else { End::Lost }
    }

    async fn append(
        &self,
        open: OpenSlot,
        queue: mpsc::Receiver<crate::slots::Submission>,
        apply: mpsc::Sender<Apply>,
        lost: &CancellationToken,
    ) -> End {
        let appender = Appender::new(&self.inner, &self.shared, open, queue, apply);
        let soft = self.inner.tasks.soft();
        let drain = async {
            soft.cancelled().await;
            self.shared.stop_taking();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            () = lost.cancelled() => End::Lost,
            () = drain => End::Lost,
            end = appender.run() => end,
        }
    }

    fn start_consumers(&self) -> tokio_util::sync::DropGuard {
        let ended = CancellationToken::new();
        self.inner
            .consumers
            .serve(&self.inner, self.shared.slot, &ended);
        ended.drop_guard()
    }
}

struct IdleOnDrop<'a>(&'a Serving);

impl Drop for IdleOnDrop<'_> {
    fn drop(&mut self) {
        self.0.shared.end();
        self.0.inner.changed();
    }
}
