//! What the tasks of a process share: the slots, and for each what is served and shown of it.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use hanse_proto::log::Entry;
use hanse_runtime::{Clock, Random, Tasks};
use hanse_store::Store;
use metrics::Gauge;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::{
    AppendError, AppliedBatch, Applier, ClusterParts, LogPoint, Notice, Position, Slot, SlotMap,
    consumer::Consumers,
    feed::{Recent, Shown},
    sabotage::Saboteur,
    statements::Statements,
};

/// Submissions that may wait for one slot.
const QUEUE_LEN_MAX: usize = 2_048;

/// Everything but the handle.
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
    pub(crate) cluster: Option<ClusterParts>,
    pub(crate) consumers: Consumers,
    pub(crate) slots: Vec<Arc<SlotShared>>,
    pub(crate) live: Mutex<Option<broadcast::Sender<Shown>>>,
    /// Counts up whenever a slot begins or ends to be served here.
    pub(crate) changes: watch::Sender<u64>,
    pub(crate) saboteur: Saboteur,
}

impl Inner {
    pub(crate) fn slot(&self, slot: Slot) -> Option<&Arc<SlotShared>> {
        self.slots.get(slot.0 as usize)
    }

    /// Whether the lease, if this process needs one, is held.
    pub(crate) fn lease_is_held(&self) -> bool {
        let lease = self.cluster.as_ref().map(|cluster| &cluster.lease);
        lease.is_none_or(|lease| lease.is_held())
    }

    /// Shows a batch that was applied here: advances `applied`, then tells who listens, here and
    /// elsewhere. In that order (law 4).
    pub(crate) fn publish(&self, shared: &SlotShared, batch: &Arc<AppliedBatch>) {
        self.show(shared, batch);
        if let Some(cluster) = &self.cluster {
            cluster.bus.publish(Notice {
                slot: batch.slot,
                epoch: batch.epoch,
                prev: batch.point.seq - 1,
                point: batch.point,
                entries: Some(batch.entries.clone()),
            });
        }
    }

    /// Shows a batch to the followers in this process, wherever it was applied.
    pub(crate) fn show(&self, shared: &SlotShared, batch: &Arc<AppliedBatch>) {
        if batch.point.seq <= shared.applied_point().seq {
            return;
        }
        shared.recent.push(Arc::clone(batch), self.saboteur);
        if shared.advance(batch.point) {
            self.tell(Shown::Batch(Arc::clone(batch)));
        }
    }

    /// A slot is applied up to here, by whomever; the followers have to read the log.
    pub(crate) fn show_point(&self, shared: &SlotShared, point: LogPoint) {
        if shared.advance(point) {
            self.tell(Shown::Ahead(shared.slot));
        }
    }

    pub(crate) fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn tell(&self, shown: Shown) {
        if let Some(live) = self.live.lock().as_ref() {
            let _ = live.send(shown);
        }
    }
}

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

/// How far this process is with serving a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not at all.
    Idle,
    /// It is being taken.
    Opening,
    /// It takes submissions.
    Serving,
    /// What waits is still appended and applied.
    Ending,
}

/// What everybody in the process knows of a slot.
pub(crate) struct SlotShared {
    pub(crate) slot: Slot,
    pub(crate) phase: watch::Sender<Phase>,
    /// Whom the slot is handed to when it ends; empty: whoever wants it.
    pub(crate) successor: Mutex<String>,
    queue: RwLock<Option<mpsc::Sender<Submission>>>,
    generation: AtomicU64,
    epoch: AtomicI64,
    pub(crate) applied: watch::Sender<LogPoint>,
    pub(crate) recent: Recent,
    /// What this process has appended last; one that serves the slot no more keeps its own.
    appended_shown: Gauge,
    /// Up to where this process shows the slot.
    applied_shown: Gauge,
}

impl SlotShared {
    pub(crate) fn new(slot: Slot) -> Arc<Self> {
        Arc::new(Self {
            slot,
            phase: watch::Sender::new(Phase::Idle),
            successor: Mutex::default(),
            queue: RwLock::new(None),
            generation: AtomicU64::new(0),
            epoch: AtomicI64::new(0),
            applied: watch::Sender::new(LogPoint::default()),
            recent: Recent::default(),
            appended_shown: metrics::gauge!("hanse_log_appended_position", "slot" => slot.0.to_string()),
            applied_shown: metrics::gauge!("hanse_log_applied_position", "slot" => slot.0.to_string()),
        })
    }

    /// A batch of this process has landed there.
    pub(crate) fn show_appended(&self, seq: i64) {
        self.appended_shown.set(gauge_value(seq));
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Voids everything that was decided on this slot's memory so far.
    pub(crate) fn next_generation(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// From idle to opening; `false` if it is served already, or about to be.
    pub(crate) fn begin(&self) -> bool {
        self.phase.send_if_modified(|phase| {
            let idle = *phase == Phase::Idle;
            if idle {
                *phase = Phase::Opening;
            }
            idle
        })
    }

    /// Under which this process served the slot last.
    pub(crate) fn epoch(&self) -> i64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Takes submissions from here on.
    pub(crate) fn start_serving(&self, epoch: i64) -> mpsc::Receiver<Submission> {
        let (queue, waiting) = mpsc::channel(QUEUE_LEN_MAX);
        self.epoch.store(epoch, Ordering::Release);
        self.next_generation();
        *self.queue.write() = Some(queue);
        self.phase.send_replace(Phase::Serving);
        waiting
    }

    /// Takes no more submissions; those that wait are still appended.
    pub(crate) fn stop_taking(&self) {
        if self.queue.write().take().is_some() {
            self.phase.send_replace(Phase::Ending);
        }
    }

    /// Whatever was decided is void, and the slot can be served again.
    pub(crate) fn end(&self) {
        self.queue.write().take();
        self.next_generation();
        self.successor.lock().clear();
        self.phase.send_replace(Phase::Idle);
    }

    pub(crate) fn is_served(&self) -> bool {
        *self.phase.borrow() == Phase::Serving
    }

    /// Where submissions go; `None` while the slot is not served here.
    pub(crate) fn queue(&self) -> Option<mpsc::Sender<Submission>> {
        self.queue.read().clone()
    }

    pub(crate) fn applied_point(&self) -> LogPoint {
        *self.applied.borrow()
    }

    /// Positions never go back.
    fn advance(&self, point: LogPoint) -> bool {
        self.applied.send_if_modified(|applied| {
            let ahead = point.seq > applied.seq;
            if ahead {
                *applied = point;
                self.applied_shown.set(gauge_value(point.seq));
            }
            ahead
        })
    }
}

/// A position as a metric.
#[expect(clippy::cast_precision_loss, reason = "no slot counts to 2^52")]
pub(crate) fn gauge_value(seq: i64) -> f64 {
    seq as f64
}
