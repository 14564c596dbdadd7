//! Processes that share a store, each on a thread of its own, so that it can be killed and frozen.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use hanse_cluster::{
    Keeper, KeeperParts, Member, Membership, MembershipParts, PERSISTER, View, assignee,
    grpc::ServerParts,
};
use hanse_log::{
    AppendError, Applier, Bus, ClusterParts, Heard, LogParts, Notice, Position, Rows, Slot,
    SlotLogs, SlotMap, SlotOwner, tables::LOG,
};
use hanse_proto::{
    log::{Batch, Entry, entry::Kind as EntryKind},
    user::UserEntry,
};
use hanse_runtime::{Random, SystemClock, SystemRandom, Tasks};
use hanse_store::{Direction, Range, Scan, Store, Table};
use hanse_store_embedded::{Durability, EmbeddedStore, Options};
use parking_lot::Mutex;
use prost::Message;
use tempfile::TempDir;
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc,
};

use crate::{
    notes::Notes,
    store::{Counts, Way},
    wire::{Link, Wire},
};

/// Longest wait for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct World {
    _dir: TempDir,
    store: Arc<EmbeddedStore>,
    pub(crate) counts: Arc<Counts>,
    bus: Arc<LocalBus>,
    pub(crate) wire: Wire,
    /// How long a process is a member before its keeper begins.
    pub(crate) keeper_after: Duration,
    slots: u32,
}

/// One process.
pub(crate) struct Process {
    pub(crate) id: String,
    pub(crate) logs: SlotLogs,
    pub(crate) membership: Membership,
    pub(crate) way: Arc<Way>,
    pub(crate) link: Link,
    /// Its writes, wherever they are run.
    pub(crate) notes: Notes,
    keeping: Tasks,
    calling: Tasks,
    logging: Tasks,
    runtime: Runtime,
}

struct NoRows;

impl Applier for NoRows {
    fn rows(&self, _: &Entry, _: Position, _: &mut Rows) {}

    fn tables(&self) -> Vec<&'static Table> {
        Vec::new()
    }
}

#[derive(Default)]
struct LocalBus {
    subscribers: Mutex<Vec<mpsc::Sender<Heard>>>,
    cut: AtomicBool,
}

impl Bus for LocalBus {
    fn publish(&self, notice: Notice) {
        if self.cut.load(Ordering::SeqCst) {
            return;
        }
        let mut subscribers = self.subscribers.lock();
        subscribers.retain(|to| !to.is_closed());
        for to in subscribers.iter() {
            let _ = to.try_send(Heard::Notice(notice.clone()));
        }
    }

    fn subscribe(&self) -> mpsc::Receiver<Heard> {
        let (to, heard) = mpsc::channel(1_024);
        to.try_send(Heard::Subscribed).unwrap();
        self.subscribers.lock().push(to);
        heard
    }
}

impl World {
    /// Processes that call each other directly.
    pub(crate) fn new(slots: u32) -> Self {
        Self::by(Wire::in_process(), slots)
    }

    /// Processes that call each other over sockets.
    pub(crate) fn over_grpc(slots: u32) -> Self {
        Self::by(Wire::grpc(), slots)
    }

    pub(crate) fn by(wire: Wire, slots: u32) -> Self {
        let dir = TempDir::new().unwrap();
        let clock = SystemClock::shared();
        let mut options = Options::new(Arc::new(move || clock.now_ms()));
        options.durability = Durability::Os;
        options.cache_bytes = 4 * 1024 * 1024;
        Self {
            store: EmbeddedStore::open(dir.path(), options).unwrap(),
            _dir: dir,
            counts: Arc::default(),
            bus: Arc::default(),
            wire,
            keeper_after: Duration::ZERO,
            slots,
        }
    }

    /// Nobody hears of anything any more.
    pub(crate) fn cut_the_bus(&self) {
        self.bus.cut.store(true, Ordering::SeqCst);
    }

    pub(crate) fn all(&self) -> BTreeSet<Slot> {
        SlotMap::initial(self.slots).slots().collect()
    }

    pub(crate) async fn start(&self, name: &str) -> Process {
        self.start_with(name, KeeperParts::STAY).await
    }

    /// `stay`: how long a slot stays before it is moved for balance.
    pub(crate) async fn start_with(&self, name: &str, stay: Duration) -> Process {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let id = format!("{name}-{}", SystemRandom.alphanumeric(8));
        let way = Way::to(Arc::clone(&self.store) as _, Arc::clone(&self.counts));
        let (keeping, calling, logging) = (Tasks::new(), Tasks::new(), Tasks::new());
        let clock = SystemClock::shared();
        let membership = MembershipParts {
            store: Arc::clone(&way) as _,
            clock: Arc::clone(&clock),
            random: SystemRandom::shared(),
            tasks: keeping.clone(),
            me: Member {
                id: id.clone(),
                roles: vec![PERSISTER.to_owned()],
                ..Member::default()
            },
        };
        let logs = LogParts {
            store: Arc::clone(&way) as _,
            applier: Arc::new(NoRows),
            clock: Arc::clone(&clock),
            random: SystemRandom::shared(),
            tasks: logging.clone(),
            map: SlotMap::initial(self.slots),
            owner: id.clone(),
            segment_bytes_max: LogParts::SEGMENT_BYTES_MAX,
            consumers: Vec::new(),
            cluster: None,
        };
        let (bus, wire) = (Arc::clone(&self.bus), self.wire.clone());
        let (tasks, calls) = (keeping.clone(), calling.clone());
        let keeper_after = self.keeper_after;
        let starting = runtime.spawn(async move {
            let (listener, address) = wire.listen().await;
            let mut membership = membership;
            membership.me.address = address;
            let store = Arc::clone(&membership.store);
            let membership = Membership::join(membership).await.unwrap();
            let link = wire.link(&membership, &store, &calls);
            let cluster = Some(ClusterParts {
                bus,
                forward: Arc::clone(&link.forward) as _,
                lease: membership.lease(),
            });
            let logs = SlotLogs::start(LogParts { cluster, ..logs }).await.unwrap();
            let notes = Notes::new(&logs, Wire::router(&link, &membership, &store, &logs));
            tokio::time::sleep(keeper_after).await;
            let keeper = Keeper::start(KeeperParts {
                slots: Arc::new(logs.clone()),
                membership: membership.clone(),
                hand_over: Arc::clone(&link.hand_over) as _,
                clock: Arc::clone(&clock),
                random: SystemRandom::shared(),
                tasks,
                stay,
            });
            let server = ServerParts {
                member: membership.id().to_owned(),
                logs: logs.clone(),
                keeper: Some(keeper),
                commands: notes.commands(),
                store,
                clock,
                tasks: calls,
            };
            wire.serve(server, listener);
            (membership, logs, link, notes)
        });
        let (membership, logs, link, notes) = starting.await.unwrap();
        Process {
            id,
            logs,
            membership,
            way,
            link,
            notes,
            keeping,
            calling,
            logging,
            runtime,
        }
    }

    /// A slot's row.
    pub(crate) async fn row(&self, slot: Slot) -> SlotOwner {
        self.row_of(slot).await.unwrap()
    }

    /// A slot's row, if there is one.
    pub(crate) async fn row_of(&self, slot: Slot) -> Option<SlotOwner> {
        SlotOwner::glance(self.store.as_ref(), slot).await.unwrap()
    }

    pub(crate) async fn rows(&self) -> BTreeMap<Slot, SlotOwner> {
        let mut rows = BTreeMap::new();
        for slot in self.all() {
            rows.insert(slot, self.row(slot).await);
        }
        rows
    }

    /// The keys in a slot's first segment, in order. Fails unless it is dense.
    pub(crate) async fn logged(&self, slot: Slot) -> Vec<String> {
        let scan = Scan {
            table: &LOG,
            partition: vec![i64::from(slot.0).into(), 0.into()],
            range: Range::all(),
            direction: Direction::Forward,
            limit: Scan::LIMIT_MAX,
        };
        let rows = self.store.scan(scan).await.unwrap().rows;
        let mut keys = Vec::new();
        for (expected, row) in (1..).zip(rows.iter().filter(|row| !row.clustering.is_empty())) {
            assert_eq!(row.clustering[0].as_i64(), Some(expected), "dense");
            let batch = Batch::decode(row.values[2].as_bytes().unwrap().clone()).unwrap();
            keys.extend(batch.entries.into_iter().map(key_of));
        }
        keys
    }

    /// Waits until these processes serve every slot, each exactly once, and whoever came last has some
    /// of its share.
    pub(crate) async fn all_served(&self, processes: &[&Process]) {
        let all: Vec<Slot> = self.all().into_iter().collect();
        let shares = self.shares(processes);
        eventually("every slot is served", async || {
            let each: Vec<_> = processes.iter().map(|p| (p, p.logs.served())).collect();
            let has_some =
                |id: &str, served: &[Slot]| !shares.contains_key(id) || !served.is_empty();
            let all_have = each.iter().all(|(p, served)| has_some(&p.id, served));
            let mut served: Vec<Slot> = each.into_iter().flat_map(|(_, served)| served).collect();
            served.sort_unstable();
            all_have && served == all
        })
        .await;
    }

    /// Waits until each of these processes serves its share and no more: until then slots go to and fro.
    pub(crate) async fn shared_out(&self, processes: &[&Process]) {
        let shares = self.shares(processes);
        eventually("each serves its share", async || {
            let has_its_share = |p: &&Process| Some(&p.logs.served()) == shares.get(p.id.as_str());
            processes.iter().all(has_its_share)
        })
        .await;
    }

    /// The slots that each should have.
    pub(crate) fn shares<'a>(&self, processes: &[&'a Process]) -> BTreeMap<&'a str, Vec<Slot>> {
        let ids: Vec<&str> = processes
            .iter()
            .map(|process| process.id.as_str())
            .collect();
        let mut shares: BTreeMap<&str, Vec<Slot>> = BTreeMap::new();
        for slot in self.all() {
            let id = assignee(slot, ids.iter().copied()).unwrap();
            shares.entry(id).or_default().push(slot);
        }
        shares
    }
}

fn key_of(entry: Entry) -> String {
    match entry.kind {
        Some(EntryKind::User(user)) => user.user_id,
        other => panic!("not an entry of ours: {other:?}"),
    }
}

pub(crate) fn entry(key: &str) -> Entry {
    let user = UserEntry {
        user_id: key.to_owned(),
        kind: None,
    };
    Entry {
        kind: Some(EntryKind::User(user)),
        ..Entry::default()
    }
}

impl Process {
    /// Submits one entry; what comes back says whether it is in the log.
    pub(crate) fn submit(
        &self,
        slot: Slot,
        key: &str,
    ) -> Result<impl Future<Output = Result<Position, AppendError>> + use<>, AppendError> {
        let ticket = self.logs.submit(slot, None, vec![entry(key)])?;
        Ok(ticket.applied())
    }

    pub(crate) async fn put(&self, slot: Slot, key: &str) -> Result<Position, AppendError> {
        self.submit(slot, key)?.await
    }

    pub(crate) fn live(&self) -> View {
        self.membership.view().borrow().clone()
    }

    /// In the process, as its tasks do.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        self.runtime.spawn(work).await.unwrap()
    }

    /// A key whose slot is this one.
    pub(crate) fn key_of(&self, slot: Slot) -> String {
        let mut keys = (0..100_000).map(|i| format!("key-{i}"));
        keys.find(|key| self.logs.slot_of(key) == slot).unwrap()
    }

    /// Everything of the process is gone at once.
    pub(crate) fn kill(self) {
        self.runtime.shutdown_background();
    }

    /// As on SIGTERM: gives its slots away and departs.
    pub(crate) async fn drain(self) {
        let drained = async {
            self.keeping.finish().await;
            self.calling.finish().await;
            self.logging.finish().await;
        };
        let drained = tokio::time::timeout(PATIENCE, drained).await;
        self.runtime.shutdown_background();
        drained.expect("the tasks end");
    }

    /// Not a task of the process runs, nor a timer, until the returned end is dropped.
    pub(crate) async fn freeze(&self) -> std::sync::mpsc::SyncSender<()> {
        let (thaw, frozen) = std::sync::mpsc::sync_channel::<()>(0);
        let (begun, beginning) = tokio::sync::oneshot::channel();
        self.runtime.spawn(async move {
            let _ = begun.send(());
            let _ = frozen.recv();
        });
        beginning.await.unwrap();
        thaw
    }
}

/// Waits until it is so; how long that took.
pub(crate) async fn eventually(what: &str, mut so: impl AsyncFnMut() -> bool) -> Duration {
    let begun = now();
    let becomes = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, becomes).await;
    assert!(waited.is_ok(), "never: {what}");
    begun.elapsed()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the tests measure real time, across processes with clocks of their own"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
