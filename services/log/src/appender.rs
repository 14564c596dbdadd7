//! The appending half of a served slot: groups what waits into batches and appends them one at a
//! time.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use hanse_proto::log::{Batch, Entry};
use hanse_runtime::trace;
use hanse_store::{Mutation, StoreError};
use prost::Message;
use tokio::sync::mpsc;
use tracing::Span;

use crate::{
    AppendError, AppliedBatch, LogPoint, Position,
    apply::{Apply, Landed, Reply, refuse},
    relay::Taken,
    replay::rows_of,
    sabotage::Sabotage,
    serving::{End, OpenSlot},
    settle::{Settled, settle},
    slots::{Inner, SlotShared, Submission},
    statements::Proposal,
};

/// Largest batch, in bytes of encoded entries.
pub const BATCH_BYTES_MAX: usize = 128 * 1024;
/// Most entries of a batch.
const BATCH_ENTRIES_MAX: usize = 512;
/// A segment is succeeded when its bodies exceed this.
pub const SEGMENT_BYTES_MAX: usize = 64 * 1024 * 1024;

pub(crate) struct Appender<'a> {
    inner: &'a Arc<Inner>,
    shared: &'a Arc<SlotShared>,
    open: OpenSlot,
    queue: mpsc::Receiver<Submission>,
    /// Taken out of the queue, but too large for the batch that was being filled.
    held: Option<Submission>,
    apply: mpsc::Sender<Apply>,
    /// What the batch under way takes from each source slot: counts only once the batch has landed.
    relayed: HashMap<u32, Taken>,
}

/// Entries with their rows, ready to be proposed.
struct Prepared {
    proposal: Proposal,
    mutations: Vec<Mutation>,
    entries: Vec<Entry>,
    /// Each ends when the batch is decided.
    _spans: Vec<Span>,
}

/// Counts a proposal that is not decided yet.
struct UnderWay;

impl UnderWay {
    fn begin() -> Self {
        metrics::gauge!("hanse_log_appends_under_way").increment(1.0);
        Self
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        metrics::gauge!("hanse_log_appends_under_way").decrement(1.0);
    }
}

impl<'a> Appender<'a> {
    pub(crate) fn new(
        inner: &'a Arc<Inner>,
        shared: &'a Arc<SlotShared>,
        open: OpenSlot,
        queue: mpsc::Receiver<Submission>,
        apply: mpsc::Sender<Apply>,
    ) -> Self {
        Self {
            inner,
            shared,
            open,
            queue,
            held: None,
            apply,
            relayed: HashMap::new(),
        }
    }

    /// Appends until the queue is closed and empty, or the slot is lost.
    pub(crate) async fn run(mut self) -> End {
        while let Some(first) = self.next().await {
            let group = self.collect(first);
            if let Err(end) = self.append(group).await {
                return end;
            }
        }
        End::Released
    }

    /// The next submission, in the order of the calls.
    async fn next(&mut self) -> Option<Submission> {
        match self.held.take() {
            Some(held) => Some(held),
            None => self.queue.recv().await,
        }
    }

    /// Takes what waits, up to a batch's bounds.
    fn collect(&mut self, first: Submission) -> Vec<Submission> {
        let mut bytes = first.bytes;
        let mut entries = first.entries.len();
        let mut group = vec![first];
        while bytes < BATCH_BYTES_MAX / 2 && entries < BATCH_ENTRIES_MAX {
            let Ok(next) = self.queue.try_recv() else {
                break;
            };
            if bytes + next.bytes > BATCH_BYTES_MAX {
                self.held = Some(next);
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
            let landed = None;
            return self.apply(Apply { landed, replies }).await;
        }
        if !self.inner.lease_is_held() {
            metrics::counter!("hanse_log_lease_lapsed_total").increment(1);
            return self.lose(replies);
        }
        let prepared = self.prepare(seq, entries);
        match self.decide(&prepared.proposal).await {
            Settled::Landed => {
                let landed = Some(self.landed(prepared));
                let replies = self.answer_too_early(replies);
                self.apply(Apply { landed, replies }).await?;
                self.succeed_if_full().await
            }
            Settled::NotWritten(error) => {
                self.void(replies, &error);
                Ok(())
            }
            Settled::Refused => {
                let reason = self.refusal().await;
                metrics::counter!("hanse_log_fenced_total", "reason" => reason).increment(1);
                tracing::warn!(slot = self.shared.slot.0, seq, reason, "fenced");
                self.lose(replies)
            }
            Settled::InDoubt => {
                metrics::counter!("hanse_log_given_up_total").increment(1);
                tracing::warn!(slot = self.shared.slot.0, seq, "given up in doubt");
                self.lose(replies)
            }
        }
    }

    /// Sorts out what is stale or a relayed repeat; the rest gets its positions.
    fn admit(&mut self, group: Vec<Submission>, seq: i64) -> (Vec<Entry>, Vec<Reply>) {
        let generation = self.shared.generation();
        let mut entries: Vec<Entry> = Vec::new();
        let mut replies = Vec::with_capacity(group.len());
        for Submission {
            generation: decided,
            entries: submitted,
            done,
            ..
        } in group
        {
            let stale = decided.is_some_and(|decided| decided != generation);
            if stale && !self.inner.saboteur.does(Sabotage::StaleDecisionsCount) {
                let _ = done.send(Err(AppendError::Stale));
                continue;
            }
            let mut position = Position::START;
            if !submitted.is_empty() && !self.relayed_before(&submitted) {
                position = Position::new(seq, entries.len() as u32);
                entries.extend(submitted);
            }
            replies.push(Reply { done, position });
        }
        (entries, replies)
    }

    /// Whether these came over the relay before; remembers them if not.
    fn relayed_before(&mut self, entries: &[Entry]) -> bool {
        let source = entries
            .first()
            .and_then(|entry| entry.relay_source.as_ref());
        let Some(source) = source else {
            return false;
        };
        if self.inner.saboteur.does(Sabotage::RelayRepeatsTaken) {
            return false;
        }
        let this = (source.position, i64::from(source.part));
        let last = self.relayed.get(&source.slot);
        let last = last.or_else(|| self.open.relayed.get(&source.slot));
        if last.is_some_and(|last| *last >= this) {
            return true;
        }
        self.relayed.insert(source.slot, this);
        false
    }

    fn prepare(&self, seq: i64, entries: Vec<Entry>) -> Prepared {
        let (inner, slot, head) = (self.inner, self.shared.slot, &self.open.head);
        let stamp_start = inner
            .saboteur
            .first_stamp(head.stamp_end, inner.clock.now_us());
        let rows = rows_of(inner.applier.as_ref(), slot, &entries, seq, stamp_start);
        let spans = trace_each(&entries, || {
            tracing::info_span!("slot.append", slot = slot.0, slot.epoch = head.epoch, seq)
        });
        let batch = Batch { entries };
        let body = Bytes::from(batch.encode_to_vec());
        let mut batch_id = [0; 16];
        inner.random.fill(&mut batch_id);
        let proposal = Proposal {
            slot,
            segment: self.open.segment,
            epoch: head.epoch,
            seq,
            batch_id: Bytes::copy_from_slice(&batch_id),
            stamp_start,
            stamp_end: rows.stamp_end(),
            segment_bytes: head.bytes + body.len() as i64,
            body,
        };
        Prepared {
            proposal,
            mutations: rows.into_mutations(),
            entries: batch.entries,
            _spans: spans,
        }
    }

    /// Proposes the same batch at the same place until that place is decided (law 3).
    async fn decide(&self, proposal: &Proposal) -> Settled {
        let statements = &self.inner.statements;
        let is_ours = || async {
            let Proposal {
                slot, segment, seq, ..
            } = *proposal;
            let stored = statements.batch(slot, segment, seq).await?;
            Ok(stored.is_some_and(|stored| stored.batch_id == proposal.batch_id))
        };
        let _under_way = UnderWay::begin();
        let saboteur = self.inner.saboteur;
        saboteur
            .settle(|| statements.append(proposal), is_ours)
            .await
    }

    /// Which condition an append of ours failed, for whoever has to find out why.
    async fn refusal(&self) -> &'static str {
        let statements = &self.inner.statements;
        match statements.head(self.shared.slot, self.open.segment).await {
            Ok(Some(head)) if head.epoch != self.open.head.epoch => "epoch",
            Ok(Some(_)) => "position",
            Ok(None) => "trimmed",
            Err(_) => "unknown",
        }
    }

    fn landed(&mut self, prepared: Prepared) -> Landed {
        let Prepared {
            proposal,
            mutations,
            entries,
            _spans,
        } = prepared;
        let head = &mut self.open.head;
        head.next = proposal.seq + 1;
        head.stamp_end = proposal.stamp_end;
        head.bytes = proposal.segment_bytes;
        self.open.relayed.extend(self.relayed.drain());
        metrics::counter!("hanse_log_batches_total").increment(1);
        metrics::counter!("hanse_log_entries_total").increment(entries.len() as u64);
        metrics::counter!("hanse_log_rows_total").increment(mutations.len() as u64);
        self.shared.show_appended(proposal.seq);
        let point = LogPoint {
            segment: proposal.segment,
            seq: proposal.seq,
        };
        let spans = trace_each(&entries, || {
            tracing::info_span!("slot.apply", slot = proposal.slot.0, seq = proposal.seq)
        });
        let batch = AppliedBatch {
            slot: proposal.slot,
            epoch: proposal.epoch,
            point,
            entries,
        };
        Landed {
            batch: Arc::new(batch),
            mutations,
            stamp_end: proposal.stamp_end,
            spans,
        }
    }

    async fn succeed_if_full(&mut self) -> Result<(), End> {
        if self.open.head.bytes > self.inner.segment_bytes_max as i64 {
            self.succeed().await
        } else {
            Ok(())
        }
    }

    /// Opens the next segment: creates its head, then seals this one. Whatever goes wrong is for
    /// the next takeover to mend: nothing is appended to a successor before the seal is applied.
    async fn succeed(&mut self) -> Result<(), End> {
        let statements = &self.inner.statements;
        let (slot, segment) = (self.shared.slot, self.open.segment);
        let head = &self.open.head;
        let is_ours = || async {
            let successor = statements.head(slot, segment + 1).await?;
            Ok(successor.is_some_and(|successor| successor.continues(head)))
        };
        let created = settle(
            || statements.create_segment(slot, segment + 1, head),
            is_ours,
        );
        if !matches!(created.await, Settled::Landed) {
            tracing::warn!(slot = slot.0, segment, "the successor was not created");
            return Err(End::Lost);
        }
        let is_ours = || async {
            let head = statements.head(slot, segment).await?;
            Ok(head.is_some_and(|head| head.sealed == Some(segment + 1)))
        };
        let sealed = settle(|| statements.seal(slot, segment, head), is_ours);
        let sealed = sealed.await;
        let settled = !self.inner.saboteur.does(Sabotage::SealNotSettled);
        if !matches!(sealed, Settled::Landed) && settled {
            tracing::warn!(slot = slot.0, segment, "the seal was not applied");
            return Err(End::Lost);
        }
        self.open.segment += 1;
        self.open.head.bytes = 0;
        Ok(())
    }

    /// Only a sabotage answers before the rows are written.
    fn answer_too_early(&self, replies: Vec<Reply>) -> Vec<Reply> {
        if !self.inner.saboteur.does(Sabotage::AnswerBeforeApply) {
            return replies;
        }
        for Reply { done, position } in replies {
            let _ = done.send(Ok(position));
        }
        Vec::new()
    }

    async fn apply(&self, apply: Apply) -> Result<(), End> {
        self.apply.send(apply).await.map_err(|_| End::Lost)
    }

    fn lose(&self, replies: Vec<Reply>) -> Result<(), End> {
        let slot = self.shared.slot;
        refuse(replies, &AppendError::SlotLost { slot });
        Err(End::Lost)
    }

    /// Nothing was written: whatever was decided on top of it is void, too.
    fn void(&mut self, replies: Vec<Reply>, error: &StoreError) {
        tracing::error!(slot = self.shared.slot.0, %error, "the store refused a batch");
        let saboteur = self.inner.saboteur;
        if !saboteur.does(Sabotage::VoidKeepsDecisions) {
            self.shared.next_generation();
        }
        if !saboteur.does(Sabotage::VoidKeepsRelayed) {
            self.relayed.clear();
        }
        refuse(replies, &AppendError::Store(Arc::new(copy_of(error))));
    }
}

/// A span for each entry that belongs to a trace.
fn trace_each(entries: &[Entry], span: impl Fn() -> Span) -> Vec<Span> {
    let traced = entries
        .iter()
        .filter(|entry| !entry.trace_parent.is_empty());
    let adopted = traced.map(|entry| {
        let span = span();
        trace::adopt(&span, &entry.trace_parent);
        span
    });
    adopted.collect()
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
