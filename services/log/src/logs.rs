//! The handle through which everybody writes and follows the slots.

use std::{fmt, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use hanse_proto::log::Entry;
use hanse_runtime::{Clock, Random, Tasks, trace};
use hanse_store::{Store, StoreError};
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::{
    AppendError, AppliedBatch, Applier, ClusterParts, Consumer, Follower, LogPoint, OpenError,
    Position, ReadError, Slot, SlotMap, SlotOwner,
    appender::{BATCH_BYTES_MAX, SEGMENT_BYTES_MAX},
    consumer::Consumers,
    heads,
    read::read_after,
    relay::Relayer,
    sabotage::Saboteur,
    serving::Serving,
    slots::{Inner, Phase, SlotShared, Submission},
    statements::Statements,
    tables,
};

/// Batches that a live subscriber may be behind before it reads the log instead.
const LIVE_LEN_MAX: usize = 2_048;
/// Slots that are taken at once.
const OPENING_AT_ONCE: usize = 32;
/// How often a slot is tried at the start against others that take it, or a store that does not
/// answer.
const OPENINGS_MAX: u32 = 8;
/// Pause before a lost slot is taken again.
const REOPEN_PAUSE: Duration = Duration::from_millis(500);

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
    /// This process, as it stands in the slots' rows. Never used again by another.
    pub owner: String,
    /// A segment is succeeded when its bodies exceed this; see [`LogParts::SEGMENT_BYTES_MAX`].
    pub segment_bytes_max: usize,
    /// The names of the durable consumers that will run. The log is kept for them from the start,
    /// also for one that is new and has no cursor yet.
    pub consumers: Vec<&'static str>,
    /// The other processes, if there are any.
    pub cluster: Option<ClusterParts>,
}

impl LogParts {
    /// What a segment holds unless a test wants smaller ones.
    pub const SEGMENT_BYTES_MAX: usize = SEGMENT_BYTES_MAX;
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

/// The slot logs as this process serves and sees them. Clones are the same logs.
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
    /// Creates the tables and looks where each slot stands. Serves nothing yet.
    pub async fn start(parts: LogParts) -> Result<Self, StoreError> {
        Self::start_with(parts, Saboteur::default()).await
    }

    /// The same, and does one thing wrong.
    #[cfg(feature = "sabotage")]
    pub async fn start_sabotaged(
        parts: LogParts,
        sabotage: Option<crate::Sabotage>,
    ) -> Result<Self, StoreError> {
        Self::start_with(parts, Saboteur { sabotage }).await
    }

    async fn start_with(parts: LogParts, saboteur: Saboteur) -> Result<Self, StoreError> {
        let mut all = tables::all();
        all.extend(parts.applier.tables());
        parts.store.create_tables(&all).await?;
        let inner = Arc::new(Inner {
            statements: Statements::new(Arc::clone(&parts.store), saboteur),
            store: parts.store,
            applier: parts.applier,
            clock: parts.clock,
            random: parts.random,
            tasks: parts.tasks,
            slots: parts.map.slots().map(SlotShared::new).collect(),
            map: parts.map,
            owner: parts.owner,
            segment_bytes_max: parts.segment_bytes_max,
            cluster: parts.cluster,
            consumers: Consumers::expecting(parts.consumers),
            live: Mutex::new(Some(broadcast::channel(LIVE_LEN_MAX).0)),
            changes: watch::Sender::new(0),
            saboteur,
        });
        inner
            .tasks
            .spawn("log-consumers", until_end(Arc::clone(&inner)));
        heads::poll_heads(&inner).await?;
        heads::watch_others(&inner);
        let logs = Self { inner };
        logs.run_consumer(&Relayer::new(&logs.inner));
        Ok(logs)
    }

    /// The same for a process that is alone: takes every slot, from whomever, serves them, and
    /// takes again what it loses.
    pub async fn open(parts: LogParts) -> Result<Self, OpenError> {
        let logs = Self::start(parts).await?;
        let slots: Vec<_> = logs.inner.map.slots().collect();
        let mut opening = stream::iter(slots)
            .map(|slot| logs.open_slot(slot))
            .buffered(OPENING_AT_ONCE);
        while let Some(opened) = opening.next().await {
            opened?;
        }
        drop(opening);
        for shared in &logs.inner.slots {
            let keep = logs.clone().keep(Arc::clone(shared));
            logs.inner.tasks.spawn("slot-keep", keep);
        }
        Ok(logs)
    }

    async fn open_slot(&self, slot: Slot) -> Result<(), OpenError> {
        for _ in 1..OPENINGS_MAX {
            match self.reserve(slot).await {
                Err(OpenError::Contended { .. }) => {}
                Err(OpenError::Store(error @ StoreError::Unavailable { .. })) => {
                    tracing::warn!(slot = slot.0, %error, "the slot is opened again");
                    tokio::time::sleep(REOPEN_PAUSE).await;
                }
                decided => return decided,
            }
        }
        self.reserve(slot).await
    }

    async fn reserve(&self, slot: Slot) -> Result<(), OpenError> {
        let observed = self.owner(slot).await?;
        self.serve(slot, &observed).await
    }

    /// Takes a slot again whenever it is lost.
    async fn keep(self, shared: Arc<SlotShared>) {
        let soft = self.inner.tasks.soft().clone();
        let mut phase = shared.phase.subscribe();
        let keep = async {
            while phase.wait_for(|phase| *phase == Phase::Idle).await.is_ok() {
                tokio::time::sleep(REOPEN_PAUSE).await;
                if let Err(error) = self.reserve(shared.slot).await {
                    tracing::error!(slot = shared.slot.0, %error, "cannot open the slot");
                }
            }
        };
        soft.run_until_cancelled(keep).await;
    }

    /// Who stands in a slot's row; creates the row if there is none.
    pub async fn owner(&self, slot: Slot) -> Result<SlotOwner, StoreError> {
        let statements = &self.inner.statements;
        if let Some(row) = statements.slot_row(slot).await? {
            return Ok(SlotOwner {
                owner: row.owner,
                epoch: row.epoch,
            });
        }
        let version = self.inner.map.version();
        statements.create_slot_row(slot, version).await?;
        Ok(SlotOwner::default())
    }

    /// Takes a slot over, if its row is as observed, replays what the archives lack, and serves it
    /// until it is released or lost. Whether the owner in the row still lives is for the caller to
    /// judge; if it does, the store fences it off.
    pub async fn serve(&self, slot: Slot, observed: &SlotOwner) -> Result<(), OpenError> {
        let shared = self.inner.slot(slot).ok_or(OpenError::Ending { slot })?;
        if self.inner.tasks.soft().is_cancelled() {
            return Err(OpenError::Ending { slot });
        }
        if !shared.begin() {
            return Err(OpenError::Busy { slot });
        }
        let (opened, waiting) = oneshot::channel();
        let serving = Serving {
            inner: Arc::clone(&self.inner),
            shared: Arc::clone(shared),
        };
        let run = serving.run(observed.clone(), opened);
        self.inner.tasks.spawn("slot-serve", run);
        waiting.await.unwrap_or(Err(OpenError::Ending { slot }))
    }

    /// Gives a slot up in order: takes nothing more, appends and applies what waits, moves the
    /// checkpoint, and enters the successor into the slot's row (empty: whoever wants it). Returns
    /// when the slot is no longer served here.
    pub async fn release(&self, slot: Slot, successor: &str) {
        let Some(shared) = self.inner.slot(slot) else {
            return;
        };
        let mut phase = shared.phase.subscribe();
        let opened = |phase: &Phase| *phase != Phase::Opening;
        let _ = phase.wait_for(opened).await;
        successor.clone_into(&mut shared.successor.lock());
        shared.stop_taking();
        let _ = phase.wait_for(|phase| *phase == Phase::Idle).await;
    }

    /// The slots that are served here.
    pub fn served(&self) -> Vec<Slot> {
        let served = self.inner.slots.iter().filter(|shared| shared.is_served());
        served.map(|shared| shared.slot).collect()
    }

    /// Whether a slot is served here, and may be at present.
    pub fn serves(&self, slot: Slot) -> bool {
        let shared = self.inner.slot(slot);
        shared.is_some_and(|shared| shared.is_served()) && self.inner.lease_is_held()
    }

    /// Whether a slot is being taken.
    pub fn takes(&self, slot: Slot) -> bool {
        let shared = self.inner.slot(slot);
        shared.is_some_and(|shared| *shared.phase.borrow() == Phase::Opening)
    }

    /// Changes whenever a slot begins or ends to be served here.
    pub fn served_changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    /// Runs a durable consumer over every slot that is served here, now or later, until the process
    /// drains.
    pub fn run_consumer<C: Consumer>(&self, consumer: &Arc<C>) {
        self.inner.consumers.add(&self.inner, consumer);
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
        let shared = self.inner.slot(slot).filter(|shared| shared.is_served());
        let shared = shared.ok_or(AppendError::NotServed { slot })?;
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
        let entries = traced(entries);
        let bytes: usize = entries.iter().map(entry_bytes).sum();
        if bytes > BATCH_BYTES_MAX {
            return Err(AppendError::TooLarge {
                bytes,
                bytes_max: BATCH_BYTES_MAX,
            });
        }
        let queue = self.inner.slot(slot).and_then(|shared| shared.queue());
        let queue = queue.filter(|_| self.inner.lease_is_held());
        let queue = queue.ok_or(AppendError::NotServed { slot })?;
        let (done, waiting) = oneshot::channel();
        let generation = basis.map(|basis| basis.0);
        let submission = Submission {
            generation,
            entries,
            bytes,
            done,
        };
        match queue.try_send(submission) {
            Ok(()) => Ok(Ticket {
                slot,
                done: waiting,
            }),
            Err(mpsc::error::TrySendError::Full(_)) => {
                metrics::counter!("hanse_log_queue_full_total").increment(1);
                Err(AppendError::Overloaded { slot })
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(AppendError::NotServed { slot }),
        }
    }

    /// Returns when everything that was submitted to the slot before is applied: memory may then
    /// be loaded from the archives.
    pub async fn barrier(&self, slot: Slot) -> Result<(), AppendError> {
        match self.submit(slot, None, Vec::new())?.applied().await {
            // Nothing was under way.
            Err(AppendError::SlotLost { slot }) => Err(AppendError::NotServed { slot }),
            reached => reached.map(drop),
        }
    }

    /// The position up to which a slot may be shown.
    pub fn applied(&self, slot: Slot) -> Position {
        let shared = self.inner.slot(slot);
        let point = shared.map(|shared| shared.applied_point());
        Position::end_of(point.unwrap_or_default().seq)
    }

    /// Returns when the slot is applied up to the position. Cancel-safe.
    pub async fn wait_applied(&self, slot: Slot, position: Position) {
        self.inner.wait_applied(slot, position).await;
    }

    /// Another process says up to where it applied a slot: from here on it may be shown. Whoever
    /// follows reads what lies in between from the log.
    pub fn learn_applied(&self, slot: Slot, point: LogPoint) {
        if let Some(shared) = self.inner.slot(slot) {
            self.inner.show_point(shared, point);
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

    /// Applied batches after a point, without a gap, at least one page of them if there are any.
    pub async fn read_after(
        &self,
        slot: Slot,
        after: LogPoint,
    ) -> Result<Vec<Arc<AppliedBatch>>, ReadError> {
        read_after(&self.inner, slot, after).await
    }

    /// Up to where a slot is applied, as far as is known here.
    pub fn applied_point(&self, slot: Slot) -> LogPoint {
        let shared = self.inner.slot(slot);
        shared.map(|s| s.applied_point()).unwrap_or_default()
    }

    pub(crate) fn of(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    pub(crate) fn saboteur(&self) -> Saboteur {
        self.inner.saboteur
    }

    pub(crate) fn cluster(&self) -> Option<&ClusterParts> {
        self.inner.cluster.as_ref()
    }
}

/// Consumers may hold these logs, which hold them: they are let go when the process ends, in order
/// or by force.
async fn until_end(inner: Arc<Inner>) {
    struct Forget(Arc<Inner>);
    impl Drop for Forget {
        fn drop(&mut self) {
            self.0.consumers.forget();
        }
    }
    let soft = inner.tasks.soft().clone();
    let _forget = Forget(inner);
    soft.cancelled().await;
}

/// Lets entries carry the trace in which they were submitted, unless they came with one.
fn traced(mut entries: Vec<Entry>) -> Vec<Entry> {
    let trace_parent = trace::present();
    if !trace_parent.is_empty() {
        let untraced = entries
            .iter_mut()
            .filter(|entry| entry.trace_parent.is_empty());
        untraced.for_each(|entry| entry.trace_parent.clone_from(&trace_parent));
    }
    entries
}

/// The bytes of an entry that count towards a batch's.
pub(crate) fn entry_bytes(entry: &Entry) -> usize {
    entry.encoded_len() + 8
}
