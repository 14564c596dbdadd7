//! The slots of this process, and the handle through which everybody writes and follows them.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use hanse_proto::log::Entry;
use hanse_runtime::{Clock, Random, Tasks};
use hanse_store::{Store, StoreError};
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::{
    AppendError, AppliedBatch, Applier, Consumer, Follower, LogPoint, OpenError, Position, Slot,
    SlotMap,
    consumer::run_consumer,
    feed::{Recent, Shown},
    open::decode,
    relay::Relayer,
    statements::Statements,
    tables,
    writer::{BATCH_BYTES_MAX, SEGMENT_BYTES_MAX, Submission, Writer},
};

/// Submissions that may wait for one slot.
const QUEUE_LEN_MAX: usize = 2_048;
/// Batches that a live subscriber may be behind before it reads the log instead.
const LIVE_LEN_MAX: usize = 2_048;
/// Batches read from the log at once.
const READ_BATCHES: usize = 32;

/// What the logs are built from.
pub struct LogParts {
    /// The store that holds them.
    pub store: Arc<dyn Store>,
    /// The domains' rows.
    pub applier: Arc<dyn Applier>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Batch ids.
    pub random: Arc<dyn Random>,
    /// Where the slots' tasks run.
    pub tasks: Tasks,
    /// Which keys belong to which slot.
    pub map: SlotMap,
    /// This process, as it stands in the slots' rows.
    pub owner: String,
}

pub(crate) struct Inner {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) statements: Statements,
    pub(crate) applier: Arc<dyn Applier>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) tasks: Tasks,
    pub(crate) map: SlotMap,
    pub(crate) owner: String,
    pub(crate) segment_bytes_max: usize,
    slots: Vec<Arc<SlotShared>>,
    live: Mutex<Option<broadcast::Sender<Shown>>>,
}

/// What a slot's task shares with everybody else.
pub(crate) struct SlotShared {
    pub(crate) slot: Slot,
    queue: mpsc::Sender<Submission>,
    serving: AtomicBool,
    generation: AtomicU64,
    applied: watch::Sender<LogPoint>,
    recent: Recent,
}

impl SlotShared {
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Voids everything that was decided on this slot's memory so far.
    pub(crate) fn next_generation(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn start_serving(&self, point: LogPoint) {
        self.next_generation();
        self.applied.send_replace(point);
        self.serving.store(true, Ordering::Release);
    }

    pub(crate) fn stop_serving(&self) {
        self.serving.store(false, Ordering::Release);
        self.next_generation();
    }

    pub(crate) fn applied_point(&self) -> LogPoint {
        *self.applied.borrow()
    }
}

impl Inner {
    /// Shows a batch: advances `applied`, then tells who listens. In that order (law 4).
    pub(crate) fn publish(&self, shared: &SlotShared, batch: &Arc<AppliedBatch>) {
        let before = shared.applied_point();
        if batch.point.seq <= before.seq {
            return;
        }
        shared.recent.push(Arc::clone(batch));
        shared.applied.send_replace(batch.point);
        self.tell(Shown::Batch(Arc::clone(batch)));
    }

    /// Tells the followers; after `applied` has advanced.
    pub(crate) fn tell(&self, shown: Shown) {
        if let Some(live) = self.live.lock().as_ref() {
            let _ = live.send(shown);
        }
    }
}

/// What a decision in memory was based on; void after the slot changed hands or refused a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Basis(u64);

/// Waits until submitted entries are in the log and applied.
#[derive(Debug)]
pub struct Ticket {
    slot: Slot,
    done: oneshot::Receiver<Result<Position, AppendError>>,
}

impl Ticket {
    /// The position of the first entry; the others follow it. From here on everybody may see them.
    pub async fn applied(self) -> Result<Position, AppendError> {
        let slot = self.slot;
        self.done
            .await
            .unwrap_or(Err(AppendError::SlotLost { slot }))
    }
}

/// The slot logs that this process owns. Clones are the same logs.
#[derive(Clone)]
pub struct SlotLogs {
    inner: Arc<Inner>,
}

impl fmt::Debug for SlotLogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlotLogs")
            .field("map", &self.inner.map)
            .finish_non_exhaustive()
    }
}

impl SlotLogs {
    /// Creates the tables, takes every slot, replays what the archives lack, and serves.
    pub async fn open(parts: LogParts) -> Result<Self, OpenError> {
        Self::open_with_segments(parts, SEGMENT_BYTES_MAX).await
    }

    /// The same, with segments that are succeeded when their bodies exceed `segment_bytes_max`
    /// instead of [`SEGMENT_BYTES_MAX`].
    pub async fn open_with_segments(
        parts: LogParts,
        segment_bytes_max: usize,
    ) -> Result<Self, OpenError> {
        let mut all = vec![
            &tables::LOG,
            &tables::SLOTS,
            &tables::CURSORS,
            &tables::RELAYED,
        ];
        all.extend(parts.applier.tables());
        parts.store.create_tables(&all).await?;
        let (slots, queues): (Vec<_>, Vec<_>) = parts.map.slots().map(slot_shared).unzip();
        let inner = Arc::new(Inner {
            statements: Statements::new(Arc::clone(&parts.store)),
            store: parts.store,
            applier: parts.applier,
            clock: parts.clock,
            random: parts.random,
            tasks: parts.tasks,
            map: parts.map,
            owner: parts.owner,
            segment_bytes_max,
            slots,
            live: Mutex::new(Some(broadcast::channel(LIVE_LEN_MAX).0)),
        });
        let logs = Self { inner };
        logs.start_writers(queues).await?;
        logs.run_consumer(&Arc::new(Relayer::new(logs.clone())));
        Ok(logs)
    }

    async fn start_writers(
        &self,
        queues: Vec<mpsc::Receiver<Submission>>,
    ) -> Result<(), OpenError> {
        let mut opening = Vec::new();
        for (shared, queue) in self.inner.slots.iter().zip(queues) {
            let (opened, waiting) = oneshot::channel();
            let (inner, shared) = (Arc::clone(&self.inner), Arc::clone(shared));
            let slot = shared.slot;
            let writer = Writer {
                inner,
                shared,
                queue,
                held: None,
                opened: Some(opened),
            };
            self.inner.tasks.spawn("slot-writer", writer.run());
            opening.push((slot, waiting));
        }
        for (slot, waiting) in opening {
            waiting
                .await
                .unwrap_or(Err(OpenError::Contended { slot, attempts: 0 }))?;
        }
        Ok(())
    }

    /// Runs a durable consumer over every slot, until the process drains.
    pub fn run_consumer<C: Consumer>(&self, consumer: &Arc<C>) {
        for slot in self.inner.map.slots() {
            let (logs, consumer) = (self.clone(), Arc::clone(consumer));
            self.inner
                .tasks
                .spawn("log-consumer", run_consumer(logs, slot, consumer));
        }
    }

    /// Which keys belong to which slot.
    pub fn map(&self) -> &SlotMap {
        &self.inner.map
    }

    /// The slot that owns a key.
    pub fn slot_of(&self, key: &str) -> Slot {
        self.inner.map.slot_of(key)
    }

    /// To be taken before a decision's memory is loaded, and handed in with what was decided.
    pub fn basis(&self, slot: Slot) -> Result<Basis, AppendError> {
        let shared = self.shared(slot)?;
        Ok(Basis(shared.generation()))
    }

    /// Hands entries to the slot's owner. Entries of one call land in one batch, in this order, or
    /// not at all; calls of one caller land in the order of the calls.
    ///
    /// `basis`: what they were decided on, if on anything in memory.
    pub fn submit(
        &self,
        slot: Slot,
        basis: Option<Basis>,
        entries: Vec<Entry>,
    ) -> Result<Ticket, AppendError> {
        let bytes: usize = entries.iter().map(|entry| entry.encoded_len() + 8).sum();
        if bytes > BATCH_BYTES_MAX {
            return Err(AppendError::TooLarge {
                bytes,
                bytes_max: BATCH_BYTES_MAX,
            });
        }
        let shared = self.shared(slot)?;
        let (done, waiting) = oneshot::channel();
        let generation = basis.map(|basis| basis.0);
        let submission = Submission {
            generation,
            entries,
            bytes,
            done,
        };
        match shared.queue.try_send(submission) {
            Ok(()) => Ok(Ticket {
                slot,
                done: waiting,
            }),
            Err(mpsc::error::TrySendError::Full(_)) => {
                metrics::counter!("hanse_log_queue_full_total").increment(1);
                Err(AppendError::Overloaded { slot })
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(AppendError::SlotLost { slot }),
        }
    }

    /// Returns when everything that was submitted to the slot before is applied: memory may then
    /// be loaded from the archives.
    pub async fn barrier(&self, slot: Slot) -> Result<(), AppendError> {
        self.submit(slot, None, Vec::new())?
            .applied()
            .await
            .map(drop)
    }

    /// The position up to which a slot may be shown.
    pub fn applied(&self, slot: Slot) -> Position {
        Position::end_of(self.applied_point(slot).seq)
    }

    /// Returns when the slot is applied up to the position. Cancel-safe.
    pub async fn wait_applied(&self, slot: Slot, position: Position) {
        if let Some(shared) = self.inner.slots.get(slot.0 as usize) {
            let mut applied = shared.applied.subscribe();
            let _ = applied
                .wait_for(|point| Position::end_of(point.seq) >= position)
                .await;
        }
    }

    /// Follows every slot from here on.
    pub fn follow(&self) -> Follower {
        let live = self
            .inner
            .live
            .lock()
            .as_ref()
            .map(broadcast::Sender::subscribe);
        Follower::new(
            self.clone(),
            live.unwrap_or_else(|| broadcast::channel(1).1),
        )
    }

    /// Ends every follower: the process drains.
    pub fn hang_up(&self) {
        self.inner.live.lock().take();
    }

    /// Applied batches after a point, at least one page of them if there are any.
    pub async fn read_after(
        &self,
        slot: Slot,
        after: LogPoint,
    ) -> Result<Vec<Arc<AppliedBatch>>, StoreError> {
        let Some(shared) = self.inner.slots.get(slot.0 as usize) else {
            return Ok(Vec::new());
        };
        let applied = shared.applied_point();
        if after.seq >= applied.seq {
            return Ok(Vec::new());
        }
        if let Some(batches) = shared.recent.after(after.seq, applied.seq) {
            return Ok(batches);
        }
        self.read_stored(slot, after, applied).await
    }

    async fn read_stored(
        &self,
        slot: Slot,
        after: LogPoint,
        applied: LogPoint,
    ) -> Result<Vec<Arc<AppliedBatch>>, StoreError> {
        for segment in after.segment..=applied.segment {
            let stored = self
                .inner
                .statements
                .batches_after(slot, segment, after.seq, READ_BATCHES)
                .await?;
            let shown = stored.iter().take_while(|batch| batch.seq <= applied.seq);
            let batches = shown.map(|batch| {
                let entries = decode(batch).map_err(|reason| StoreError::Corrupt {
                    table: tables::LOG.name,
                    reason,
                })?;
                let point = LogPoint {
                    segment,
                    seq: batch.seq,
                };
                Ok(Arc::new(AppliedBatch {
                    slot,
                    epoch: 0,
                    point,
                    entries,
                }))
            });
            let batches: Vec<_> = batches.collect::<Result<_, StoreError>>()?;
            if !batches.is_empty() {
                return Ok(batches);
            }
        }
        Ok(Vec::new())
    }

    pub(crate) fn applied_point(&self, slot: Slot) -> LogPoint {
        self.inner
            .slots
            .get(slot.0 as usize)
            .map(|s| s.applied_point())
            .unwrap_or_default()
    }

    pub(crate) fn statements(&self) -> &Statements {
        &self.inner.statements
    }

    pub(crate) fn tasks(&self) -> &Tasks {
        &self.inner.tasks
    }

    fn shared(&self, slot: Slot) -> Result<&SlotShared, AppendError> {
        let shared = self.inner.slots.get(slot.0 as usize);
        shared
            .filter(|shared| shared.serving.load(Ordering::Acquire))
            .map(AsRef::as_ref)
            .ok_or(AppendError::SlotLost { slot })
    }
}

fn slot_shared(slot: Slot) -> (Arc<SlotShared>, mpsc::Receiver<Submission>) {
    let (queue, waiting) = mpsc::channel(QUEUE_LEN_MAX);
    let shared = SlotShared {
        slot,
        queue,
        serving: AtomicBool::new(false),
        generation: AtomicU64::new(0),
        applied: watch::channel(LogPoint::default()).0,
        recent: Recent::default(),
    };
    (Arc::new(shared), waiting)
}
