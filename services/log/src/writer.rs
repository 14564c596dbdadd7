//! The task that owns a slot: groups what waits into batches, appends them one at a time, and hands
//! them on to be applied.

use std::{collections::HashMap, iter::from_fn, sync::Arc, time::Duration};

use bytes::Bytes;
use hanse_proto::log::{Batch, Entry};
use hanse_store::{Mutation, Outcome, StoreError};
use prost::Message;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    AppendError, AppliedBatch, LogPoint, Position,
    apply::{Apply, Reply, apply_loop},
    feed::Shown,
    logs::{Inner, SlotShared},
    open::{OpenSlot, Opener, rows_of},
    statements::{Head, Proposal},
};

/// Largest batch, in bytes of encoded entries.
pub const BATCH_BYTES_MAX: usize = 128 * 1024;
/// Most entries of a batch.
const BATCH_ENTRIES_MAX: usize = 512;
/// A segment is succeeded when its bodies exceed this.
pub const SEGMENT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Batches that may be appended and not yet applied.
const APPLY_QUEUE_LEN: usize = 8;
/// How often one batch is proposed before the slot is given up.
const PROPOSALS_MAX: u32 = 8;
/// Pause before a lost slot is taken again.
const REOPEN_PAUSE: Duration = Duration::from_millis(500);

/// Entries that wait to be appended.
#[derive(Debug)]
pub(crate) struct Submission {
    /// The generation that they were decided in; `None`: decided on nothing in memory.
    pub(crate) generation: Option<u64>,
    /// Empty: a barrier.
    pub(crate) entries: Vec<Entry>,
    pub(crate) bytes: usize,
    pub(crate) done: oneshot::Sender<Result<Position, AppendError>>,
}

/// What became of a proposed batch.
enum Decision {
    Landed,
    /// Certainly not written; the slot is still ours.
    NotWritten(StoreError),
    /// Somebody else's, or not to be found out.
    Lost,
}

/// Why serving a slot ended.
enum End {
    Lost,
    Drained,
}

pub(crate) struct Writer {
    pub(crate) inner: Arc<Inner>,
    pub(crate) shared: Arc<SlotShared>,
    pub(crate) queue: mpsc::Receiver<Submission>,
    /// Taken out of the queue, but too large for the batch that was being filled.
    pub(crate) held: Option<Submission>,
    /// Told once, when the slot serves for the first time.
    pub(crate) opened: Option<oneshot::Sender<Result<(), crate::OpenError>>>,
}

impl Writer {
    /// Owns the slot until the process drains.
    pub(crate) async fn run(mut self) {
        loop {
            match self.open().await {
                Ok(open) => {
                    if matches!(self.serve(open).await, End::Drained) {
                        return;
                    }
                }
                Err(error) => {
                    tracing::error!(slot = self.shared.slot.0, %error, "cannot open the slot");
                    if let Some(opened) = self.opened.take() {
                        let _ = opened.send(Err(error));
                        return;
                    }
                }
            }
            self.refuse_queue();
            tokio::select! {
                () = self.inner.tasks.soft().cancelled() => return,
                () = tokio::time::sleep(REOPEN_PAUSE) => {}
            }
        }
    }

    async fn open(&mut self) -> Result<OpenSlot, crate::OpenError> {
        let opener = Opener {
            store: &self.inner.store,
            statements: &self.inner.statements,
            applier: self.inner.applier.as_ref(),
            slot: self.shared.slot,
            owner: &self.inner.owner,
            map_version: self.inner.map.version(),
        };
        opener.open().await
    }

    async fn serve(&mut self, open: OpenSlot) -> End {
        for batch in &open.replayed {
            self.inner.publish(&self.shared, batch);
        }
        let point = LogPoint {
            segment: open.segment,
            seq: open.head.next - 1,
        };
        self.shared.start_serving(point);
        self.inner.tell(Shown::Reopened(self.shared.slot));
        if let Some(opened) = self.opened.take() {
            let _ = opened.send(Ok(()));
        }
        let lost = CancellationToken::new();
        let (apply, applies) = mpsc::channel(APPLY_QUEUE_LEN);
        let applying = self.inner.tasks.spawn(
            "slot-apply",
            apply_loop(
                Arc::clone(&self.inner),
                Arc::clone(&self.shared),
                applies,
                open.head.epoch,
                lost.clone(),
            ),
        );
        let appender = Appender {
            writer: self,
            open,
            apply,
            lost: lost.clone(),
            relayed: HashMap::new(),
            segment_bytes: 0,
        };
        let end = appender.run().await;
        self.shared.stop_serving();
        // The applier ends with its channel; what it still holds gets its answer before we go on.
        let _ = applying.await;
        end
    }

    /// The next submission, in the order of the calls. Cancel-safe.
    async fn next(&mut self) -> Option<Submission> {
        match self.held.take() {
            Some(held) => Some(held),
            None => self.queue.recv().await,
        }
    }

    fn refuse_queue(&mut self) {
        let slot = self.shared.slot;
        let held = self.held.take();
        for submission in held
            .into_iter()
            .chain(from_fn(|| self.queue.try_recv().ok()))
        {
            let _ = submission.done.send(Err(AppendError::SlotLost { slot }));
        }
    }
}

/// The appending half of a served slot.
struct Appender<'a> {
    writer: &'a mut Writer,
    open: OpenSlot,
    apply: mpsc::Sender<Apply>,
    lost: CancellationToken,
    /// What the batch under way takes from each source slot: counts only once the batch has landed.
    relayed: HashMap<u32, i64>,
    segment_bytes: usize,
}

impl Appender<'_> {
    async fn run(mut self) -> End {
        let soft = self.writer.inner.tasks.soft().clone();
        loop {
            let first = tokio::select! {
                biased;
                () = self.lost.cancelled() => return End::Lost,
                first = self.writer.next() => first,
                () = soft.cancelled() => None,
            };
            let Some(first) = first else {
                return End::Drained;
            };
            let group = self.collect(first);
            if let Err(end) = self.append(group).await {
                return end;
            }
        }
    }

    /// Takes what waits, up to a batch's bounds.
    fn collect(&mut self, first: Submission) -> Vec<Submission> {
        let mut bytes = first.bytes;
        let mut entries = first.entries.len();
        let mut group = vec![first];
        while bytes < BATCH_BYTES_MAX / 2 && entries < BATCH_ENTRIES_MAX {
            let Ok(next) = self.writer.queue.try_recv() else {
                break;
            };
            if bytes + next.bytes > BATCH_BYTES_MAX {
                self.writer.held = Some(next);
                break;
            }
            bytes += next.bytes;
            entries += next.entries.len();
            group.push(next);
        }
        group
    }

    async fn append(&mut self, group: Vec<Submission>) -> Result<(), End> {
        let seq = self.open.head.next;
        let (entries, replies) = self.admit(group, seq);
        if entries.is_empty() {
            return self
                .hand_on(Apply {
                    batch: None,
                    mutations: Vec::new(),
                    replies,
                })
                .await;
        }
        let (proposal, mutations, entries) = self.propose(seq, entries);
        match self.decide(&proposal).await {
            Decision::Landed => {
                let point = LogPoint {
                    segment: self.open.segment,
                    seq,
                };
                self.landed(&proposal);
                let (slot, epoch) = (proposal.slot, proposal.epoch);
                let batch = Arc::new(AppliedBatch {
                    slot,
                    epoch,
                    point,
                    entries,
                });
                self.hand_on(Apply {
                    batch: Some(batch),
                    mutations,
                    replies,
                })
                .await?;
                self.succeed_if_full().await
            }
            Decision::NotWritten(error) => {
                self.void(replies, &error);
                Ok(())
            }
            Decision::Lost => {
                metrics::counter!("hanse_log_fenced_total").increment(1);
                let slot = self.writer.shared.slot;
                tracing::warn!(slot = slot.0, seq, "the slot is lost");
                refuse(replies, &AppendError::SlotLost { slot });
                Err(End::Lost)
            }
        }
    }

    /// Sorts out what is stale or a relayed repeat; the rest gets its positions.
    fn admit(&mut self, group: Vec<Submission>, seq: i64) -> (Vec<Entry>, Vec<Reply>) {
        let generation = self.writer.shared.generation();
        let mut entries: Vec<Entry> = Vec::new();
        let mut replies = Vec::with_capacity(group.len());
        for submission in group {
            if submission
                .generation
                .is_some_and(|decided| decided != generation)
            {
                let _ = submission.done.send(Err(AppendError::Stale));
                continue;
            }
            if submission.entries.is_empty() || self.relayed_before(&submission.entries) {
                replies.push(Reply {
                    done: submission.done,
                    position: Position::START,
                });
                continue;
            }
            let position = Position::new(seq, entries.len() as u32);
            entries.extend(submission.entries);
            replies.push(Reply {
                done: submission.done,
                position,
            });
        }
        (entries, replies)
    }

    /// Whether these came over the relay before; remembers them if not.
    fn relayed_before(&mut self, entries: &[Entry]) -> bool {
        let Some(source) = entries
            .first()
            .and_then(|entry| entry.relay_source.as_ref())
        else {
            return false;
        };
        let taken = self.relayed.get(&source.slot);
        let last = taken.or_else(|| self.open.relayed.get(&source.slot));
        if last.is_some_and(|last| *last >= source.position) {
            return true;
        }
        self.relayed.insert(source.slot, source.position);
        false
    }

    fn propose(&self, seq: i64, entries: Vec<Entry>) -> (Proposal, Vec<Mutation>, Vec<Entry>) {
        let inner = &self.writer.inner;
        let slot = self.writer.shared.slot;
        let stamp_start = (self.open.head.stamp_end + 1).max(inner.clock.now_us());
        let rows = rows_of(inner.applier.as_ref(), slot, &entries, seq, stamp_start);
        let batch = Batch { entries };
        let mut batch_id = [0; 16];
        inner.random.fill(&mut batch_id);
        let proposal = Proposal {
            slot,
            segment: self.open.segment,
            epoch: self.open.head.epoch,
            seq,
            batch_id: Bytes::copy_from_slice(&batch_id),
            stamp_start,
            stamp_end: rows.stamp_end().max(stamp_start),
            body: batch.encode_to_vec().into(),
        };
        (proposal, rows.into_mutations(), batch.entries)
    }

    /// Proposes the same batch at the same place until that place is decided (law 3).
    async fn decide(&self, proposal: &Proposal) -> Decision {
        let mut in_doubt = false;
        for attempt in 0..PROPOSALS_MAX {
            match self.writer.inner.statements.append(proposal).await {
                Ok(Outcome::Applied) => return Decision::Landed,
                Ok(Outcome::Refused { .. }) if in_doubt => return self.whose(proposal).await,
                Ok(Outcome::Refused { .. }) => return Decision::Lost,
                Err(error @ StoreError::Unknown { .. }) => {
                    tracing::warn!(slot = proposal.slot.0, %error, "an append is in doubt");
                    metrics::counter!("hanse_log_unknown_total").increment(1);
                    in_doubt = true;
                }
                Err(error) if !in_doubt => return Decision::NotWritten(error),
                Err(error) => tracing::warn!(slot = proposal.slot.0, %error, "still in doubt"),
            }
            tokio::time::sleep(Duration::from_millis(10 << attempt)).await;
        }
        Decision::Lost
    }

    /// Refused after a doubt: the row tells whose batch is there.
    async fn whose(&self, proposal: &Proposal) -> Decision {
        let statements = &self.writer.inner.statements;
        match statements
            .batch(proposal.slot, proposal.segment, proposal.seq)
            .await
        {
            Ok(Some(stored)) if stored.batch_id == proposal.batch_id => Decision::Landed,
            _ => Decision::Lost,
        }
    }

    fn landed(&mut self, proposal: &Proposal) {
        self.open.head.next = proposal.seq + 1;
        self.open.head.stamp_end = proposal.stamp_end;
        self.segment_bytes += proposal.body.len();
        self.open.relayed.extend(self.relayed.drain());
        metrics::counter!("hanse_log_batches_total").increment(1);
    }

    async fn succeed_if_full(&mut self) -> Result<(), End> {
        if self.segment_bytes > self.writer.inner.segment_bytes_max {
            self.succeed().await
        } else {
            Ok(())
        }
    }

    /// Opens the next segment: creates its head, then seals this one.
    async fn succeed(&mut self) -> Result<(), End> {
        let statements = &self.writer.inner.statements;
        let (slot, segment) = (self.writer.shared.slot, self.open.segment);
        let head: &Head = &self.open.head;
        let created = statements.create_segment(slot, segment + 1, head).await;
        let sealed = match created {
            Ok(Outcome::Applied) => statements.seal(slot, segment, head).await,
            other => other,
        };
        if !matches!(sealed, Ok(Outcome::Applied)) {
            tracing::warn!(slot = slot.0, segment, ?sealed, "the succession failed");
            return Err(End::Lost);
        }
        self.open.segment += 1;
        self.segment_bytes = 0;
        Ok(())
    }

    async fn hand_on(&self, apply: Apply) -> Result<(), End> {
        self.apply.send(apply).await.map_err(|_| End::Lost)
    }

    /// Nothing was written: whatever was decided on top of it is void, too.
    fn void(&mut self, replies: Vec<Reply>, error: &StoreError) {
        tracing::error!(slot = self.writer.shared.slot.0, %error, "the store refused a batch");
        self.writer.shared.next_generation();
        self.relayed.clear();
        refuse(replies, &AppendError::Store(Arc::new(copy_of(error))));
    }
}

/// Store errors are shared by all entries of a batch.
fn copy_of(error: &StoreError) -> StoreError {
    match error {
        StoreError::Full => StoreError::Full,
        other => StoreError::Unavailable {
            source: other.to_string().into(),
        },
    }
}

pub(crate) fn refuse(replies: Vec<Reply>, error: &AppendError) {
    for reply in replies {
        let _ = reply.done.send(Err(error.clone()));
    }
}
