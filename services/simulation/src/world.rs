//! One run: machines, clients, faults; then quiet, and what must hold at the end.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use hanse_log::{Position, Sabotage};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::{
    audit::Audit,
    blows,
    bus::SimBus,
    client::Client,
    clock::SimClock,
    dice::Dice,
    executor::{ProcessId, WORLD},
    finale,
    lease::Leases,
    ledger::Wish,
    node::Node,
    plan::{Habits, Plan},
    scene::Scene,
    store::{LATE_MS_MAX, SimStore, Weather},
    truth::Truth,
};

/// How long everything may take that must happen once faults have stopped.
const PATIENCE: Duration = Duration::from_secs(90);

/// What the machines share.
pub(crate) struct Ground {
    pub(crate) seed: u64,
    /// What the log does wrong in this run.
    pub(crate) sabotage: Option<Sabotage>,
    pub(crate) scene: Scene,
    pub(crate) plan: Plan,
    pub(crate) store: SimStore,
    pub(crate) truth: Arc<Truth>,
    pub(crate) weather: Weather,
    started: Instant,
    troubled: AtomicBool,
    pub(crate) bus: SimBus,
    pub(crate) leases: Leases,
    pub(crate) nodes: Mutex<Vec<Weak<Node>>>,
    processes: AtomicU32,
}

impl Ground {
    pub(crate) fn new(seed: u64, sabotage: Option<Sabotage>, scene: Scene) -> Arc<Self> {
        let started = Instant::now();
        let plan = Plan::drawn(&Dice::new(seed, "plan"));
        let truth = Truth::new(scene.clone());
        let store = SimStore::new(SimClock::starting_at(started));
        store.watched_by(Arc::downgrade(&truth) as _);
        truth.watch(store.clone());
        Arc::new(Self {
            seed,
            sabotage,
            weather: Weather::new(plan.rates.clone()),
            store,
            truth,
            started,
            troubled: AtomicBool::new(true),
            bus: SimBus::new(scene.clone(), Dice::new(seed, "bus"), plan.bus.clone()),
            leases: Leases::default(),
            nodes: Mutex::default(),
            plan,
            scene,
            processes: AtomicU32::new(0),
        })
    }

    /// A clock of its own for a machine.
    pub(crate) fn clock(&self) -> SimClock {
        SimClock::starting_at(self.started)
    }

    /// Draws for one purpose of one process.
    pub(crate) fn dice(&self, purpose: &str, process: ProcessId) -> Dice {
        Dice::new(self.seed, &format!("{purpose} {}", process.0))
    }

    pub(crate) fn next_process(&self) -> ProcessId {
        ProcessId(self.processes.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Whether faults still happen.
    pub(crate) fn is_troubled(&self) -> bool {
        self.troubled.load(Ordering::Relaxed)
    }

    /// How processes treat each other's slots at present.
    pub(crate) fn habits(&self) -> &Habits {
        if self.is_troubled() {
            &self.plan.habits
        } else {
            &Habits::ORDERLY
        }
    }
}

/// A run.
pub(crate) struct World {
    pub(crate) ground: Arc<Ground>,
    pub(crate) nodes: Vec<Arc<Node>>,
    acknowledged: Mutex<Vec<(String, u32, Position)>>,
    clients_left: AtomicU32,
}

impl World {
    pub(crate) fn new(ground: Arc<Ground>) -> Arc<Self> {
        let nodes = (0..ground.plan.nodes).map(|index| Node::new(Arc::clone(&ground), index));
        let nodes: Vec<_> = nodes.collect();
        *ground.nodes.lock() = nodes.iter().map(Arc::downgrade).collect();
        Arc::new(Self {
            nodes,
            acknowledged: Mutex::default(),
            clients_left: AtomicU32::new(0),
            ground,
        })
    }

    /// The whole of it.
    pub(crate) async fn run(self: Arc<Self>) {
        let scene = &self.ground.scene;
        scene.note(WORLD, format_args!("{:?}", self.ground.plan));
        for node in &self.nodes {
            scene.executor.spawn(WORLD, Arc::clone(node).run());
        }
        for number in 0..self.ground.plan.clients {
            self.start_client(number, Client::run);
        }
        scene.executor.spawn(WORLD, blows::deal(Arc::clone(&self)));
        self.rest(self.ground.plan.troubled).await;
        self.calm().await;
        // First without a further word in any slot: the last one may have been lost.
        if scene.verdict.is_clean() {
            self.settle().await;
        }
        if scene.verdict.is_clean() {
            self.start_client(usize::MAX, Client::probe);
            self.settle().await;
        }
        if scene.verdict.is_clean() {
            finale::check(&self).await;
        }
    }

    fn start_client<F: Future<Output = ()> + Send + 'static>(
        self: &Arc<Self>,
        number: usize,
        work: impl FnOnce(Client) -> F,
    ) {
        self.clients_left.fetch_add(1, Ordering::Relaxed);
        let world = Arc::clone(self);
        let working = work(Client::new(Arc::clone(self), number));
        self.ground.scene.executor.spawn(WORLD, async move {
            working.await;
            world.clients_left.fetch_sub(1, Ordering::Relaxed);
        });
    }

    /// Lets time pass, unless something is found.
    async fn rest(&self, duration: Duration) {
        let until = Instant::now() + duration;
        while Instant::now() < until && self.ground.scene.verdict.is_clean() {
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// No fault begins any more; those under way come to their end.
    async fn calm(&self) {
        let ground = &self.ground;
        ground.scene.note(WORLD, format_args!("faults stop"));
        ground.troubled.store(false, Ordering::Relaxed);
        ground.weather.calm_down();
        ground.bus.calm_down();
        for life in self.nodes.iter().filter_map(|node| node.life()) {
            life.link.doom(None);
            life.link.trip(None);
            life.link.cut(false);
            ground.scene.executor.thaw(life.process);
        }
        self.rest(Duration::from_millis(LATE_MS_MAX + 10_000)).await;
    }

    async fn settle(&self) {
        let until = Instant::now() + PATIENCE;
        loop {
            let unsettled = self.unsettled();
            let Some(what) = unsettled else {
                return;
            };
            if Instant::now() > until {
                let check = "everything goes on once faults have stopped";
                return self.ground.scene.violated(check, format_args!("{what}"));
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// What has not happened yet.
    fn unsettled(&self) -> Option<String> {
        let clients = self.clients_left.load(Ordering::Relaxed);
        if clients > 0 {
            return Some(format!("{clients} clients wait for their answer"));
        }
        let truth = &self.ground.truth;
        for slot in 0..self.ground.plan.slots {
            let tail = truth.tail(slot);
            if let Some(missing) = truth.missing(slot, tail, false) {
                return Some(format!("slot {slot}: {missing}"));
            }
            if let Some(key) = truth.missing_effect(slot, tail) {
                return Some(format!("slot {slot}: {key} was not relayed"));
            }
            let consumed = truth.consumed(Audit::NAME, slot);
            if consumed < tail {
                return Some(format!("slot {slot}: consumed up to {consumed} of {tail}"));
            }
            let lives = self.nodes.iter().filter_map(|node| node.life());
            for life in lives {
                let seen = life.seen.lock().get(&slot).copied();
                if seen.is_none_or(|seen| seen < tail) {
                    let who = life.process;
                    return Some(format!(
                        "slot {slot}: {who} follows up to {seen:?} of {tail}"
                    ));
                }
            }
        }
        None
    }

    /// A client was told that its key is at this position.
    pub(crate) fn acknowledged(&self, wish: &Wish, position: Position) {
        let slot = hanse_log::SlotMap::initial(self.ground.plan.slots)
            .slot_of(&wish.room)
            .0;
        self.acknowledged
            .lock()
            .push((wish.key.clone(), slot, position));
        self.check_acknowledged(&wish.key, slot, position);
    }

    fn check_acknowledged(&self, key: &str, slot: u32, position: Position) {
        let place = self.ground.truth.place_of(key);
        if place != Some((slot, position)) {
            self.ground.scene.violated(
                "what is acknowledged is in the log",
                format_args!("{key} at {slot}:{position}; it is at {place:?}"),
            );
        }
    }

    /// At the end: everything that was ever acknowledged.
    pub(crate) fn check_all_acknowledged(&self) {
        for (key, slot, position) in self.acknowledged.lock().iter() {
            self.check_acknowledged(key, *slot, *position);
        }
    }
}
