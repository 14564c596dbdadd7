//! A machine that runs one process after the other.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use hanse_log::{AppendError, ClusterParts, LogParts, Notice, Position, Slot, SlotLogs, SlotMap};
use hanse_proto::log::Entry;
use hanse_runtime::Tasks;
use hanse_store::Store;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::sleep,
};

use crate::{
    audit::{Audit, Seen, follow, peek},
    blows,
    clock::SimClock,
    dice::Dice,
    domain::Recorder,
    exchange::Exchange,
    executor::{ProcessId, WORLD},
    lease::{OwnLease, keep, owner_name},
    ledger::{Ledger, Wish, WishError},
    store::{Death, Link, ProcessStore, Trap},
    world::Ground,
};

/// Requests on their way to one process.
const REQUESTS_MAX: usize = 64;

/// What is asked of a process, and where its answer goes.
pub(crate) enum Request {
    /// By a client.
    Write {
        wish: Wish,
        answer: oneshot::Sender<Result<Position, WishError>>,
    },
    /// By another process's relay.
    Relay {
        target: Slot,
        entries: Vec<Entry>,
        answer: oneshot::Sender<Result<Position, AppendError>>,
    },
}

/// The process that a node runs at present.
#[derive(Clone)]
pub(crate) struct Life {
    pub(crate) process: ProcessId,
    pub(crate) link: Arc<Link>,
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) seen: Seen,
    /// Set once it serves.
    pub(crate) serves: Arc<Mutex<Option<SlotLogs>>>,
}

/// A machine.
pub(crate) struct Node {
    pub(crate) index: usize,
    pub(crate) clock: SimClock,
    ground: Arc<Ground>,
    life: Mutex<Option<Life>>,
    changed: Notify,
    dice: Dice,
}

impl Node {
    pub(crate) fn new(ground: Arc<Ground>, index: usize) -> Arc<Self> {
        let dice = Dice::new(ground.seed, &format!("node {index}"));
        Arc::new(Self {
            index,
            clock: ground.clock(),
            ground,
            life: Mutex::default(),
            changed: Notify::new(),
            dice,
        })
    }

    pub(crate) fn life(&self) -> Option<Life> {
        self.life.lock().clone()
    }

    /// Starts a process, and another one some time after each has died.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            let process = self.start();
            while !self.ground.scene.executor.is_killed(process) {
                self.changed.notified().await;
            }
            let troubled = self.ground.is_troubled();
            sleep(self.dice.ms(100..=if troubled { 10_000 } else { 500 })).await;
        }
    }

    /// Ends the present process where it stands.
    pub(crate) fn kill(&self, how: &str) {
        let life = self.life.lock().take();
        if let Some(life) = life {
            let scene = &self.ground.scene;
            scene.note(life.process, format_args!("dies {how}"));
            scene.tally.count(format!("died {how}"));
            scene.executor.kill(life.process);
            self.changed.notify_one();
        }
    }

    /// Ends that process, if it is the present one.
    fn kill_process(&self, process: ProcessId, how: &str) {
        let present = self.life.lock().as_ref().map(|life| life.process);
        if present == Some(process) {
            self.kill(how);
        }
    }

    fn start(self: &Arc<Self>) -> ProcessId {
        let ground = &self.ground;
        let process = ground.next_process();
        let tasks = ground.scene.executor.tasks(process);
        let (requests, waiting) = mpsc::channel(REQUESTS_MAX);
        let life = Life {
            process,
            link: Arc::default(),
            requests,
            seen: Seen::default(),
            serves: Arc::default(),
        };
        let store = self.store(&life);
        ground
            .scene
            .note(process, format_args!("starts on node {}", self.index));
        ground.scene.tally.count("processes started");
        *self.life.lock() = Some(life.clone());
        self.trip_at_start();
        let (node, own) = (Arc::clone(self), tasks.clone());
        tasks.spawn(
            "main",
            async move { node.main(life, own, store, waiting).await },
        );
        process
    }

    fn store(self: &Arc<Self>, life: &Life) -> ProcessStore {
        let node = Arc::downgrade(self);
        let death: Death = Arc::new(move |process, how| {
            if let Some(node) = node.upgrade() {
                node.kill_process(process, how);
            }
        });
        let ground = &self.ground;
        ProcessStore {
            scene: ground.scene.clone(),
            store: ground.store.clone(),
            process: life.process,
            link: Arc::clone(&life.link),
            weather: ground.weather.clone(),
            dice: ground.dice("store", life.process),
            death,
            calls: Arc::new(AtomicU64::new(0)),
        }
    }

    /// What the process does.
    async fn main(
        self: Arc<Self>,
        life: Life,
        tasks: Tasks,
        store: ProcessStore,
        mut requests: mpsc::Receiver<Request>,
    ) {
        let ground = &self.ground;
        let process = life.process;
        let store: Arc<dyn Store> = Arc::new(store);
        let lease = OwnLease::new(Arc::clone(ground));
        tasks.spawn("lease", Arc::clone(&lease).renew(life.clone()));
        let parts = LogParts {
            store: Arc::clone(&store),
            applier: Arc::new(Recorder),
            clock: Arc::new(self.clock.clone()),
            random: ground.dice("log", process).random(),
            tasks: tasks.clone(),
            map: SlotMap::initial(ground.plan.slots),
            owner: owner_name(process),
            segment_bytes_max: ground.plan.segment_bytes_max,
            consumers: Vec::new(),
            cluster: Some(self.cluster(process, lease)),
        };
        let logs = match SlotLogs::start_sabotaged(parts, ground.sabotage).await {
            Ok(logs) => logs,
            Err(error) => {
                let scene = &ground.scene;
                scene.note(process, format_args!("cannot start: {error}"));
                return self.kill_process(process, "at its start");
            }
        };
        self.start_readers(&life, &tasks, &logs);
        *life.serves.lock() = Some(logs.clone());
        let ledger = Arc::new(Ledger {
            logs,
            store,
            truth: Arc::clone(&ground.truth),
            process,
            attempts: AtomicU64::new(0),
            cells: Mutex::default(),
        });
        while let Some(request) = requests.recv().await {
            tasks.spawn("request", answer(Arc::clone(&ledger), request));
        }
    }

    fn cluster(&self, process: ProcessId, lease: Arc<OwnLease>) -> ClusterParts {
        let ground = &self.ground;
        let truth = Arc::clone(&ground.truth);
        let witness = Arc::new(move |notice: &Notice| match &notice.entries {
            Some(entries) => truth.handed(notice.slot.0, notice.point, entries, "a notice"),
            None => truth.shown(notice.slot.0, notice.point.seq, "a notice"),
        });
        ClusterParts {
            bus: ground.bus.of(process, witness),
            forward: Arc::new(Exchange {
                ground: Arc::clone(ground),
                dice: ground.dice("relay", process),
            }),
            lease,
        }
    }

    fn start_readers(&self, life: &Life, tasks: &Tasks, logs: &SlotLogs) {
        let (ground, process) = (&self.ground, life.process);
        let dice = |purpose| ground.dice(purpose, process);
        logs.run_consumer(&Audit::new(Arc::clone(&ground.truth), dice("audit")));
        let seen = Arc::clone(&life.seen);
        let following = follow(
            Arc::clone(ground),
            process,
            logs.clone(),
            dice("follower"),
            seen,
        );
        tasks.spawn("follower", following);
        let peeking = peek(Arc::clone(ground), process, logs.clone(), dice("peek"));
        tasks.spawn("peek", peeking);
        let keeping = keep(Arc::clone(ground), process, logs.clone(), dice("keep"));
        tasks.spawn("keep", keeping);
    }

    /// The process shall die at a step.
    pub(crate) fn doom(&self, dies: Trap) {
        if let Some(life) = self.life() {
            self.ground
                .scene
                .note(WORLD, format_args!("dooms {}: {dies:?}", life.process));
            life.link.doom(Some(dies));
        }
    }

    /// The process shall stand still at a step.
    pub(crate) fn trip(&self, stalls: Trap, lasts: Duration) {
        if let Some(life) = self.life() {
            self.ground
                .scene
                .note(WORLD, format_args!("trips {}: {stalls:?}", life.process));
            life.link.trip(Some((stalls, lasts)));
        }
    }

    /// Some stumble over their first steps.
    fn trip_at_start(&self) {
        let stumbles = self.ground.plan.blows.stumbles;
        if self.ground.is_troubled() && self.dice.chance(stumbles) {
            blows::trip(self, &self.dice);
        }
    }
}

async fn answer(ledger: Arc<Ledger>, request: Request) {
    match request {
        Request::Write { wish, answer } => {
            let granted = ledger.grant(&wish).await;
            // Here, and not where it arrives: power may be lost on its way.
            if let Ok(position) = granted {
                let slot = ledger.logs.slot_of(&wish.room).0;
                ledger.truth.shown(slot, position.seq(), "an answer");
            }
            let _ = answer.send(granted);
        }
        Request::Relay {
            target,
            entries,
            answer,
        } => {
            let outcome = match ledger.logs.submit(target, None, entries) {
                Ok(ticket) => ticket.applied().await,
                Err(error) => Err(error),
            };
            let _ = answer.send(outcome);
        }
    }
}
