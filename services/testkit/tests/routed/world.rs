//! Processes with rooms and users over one embedded store, each on a thread of its own.

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use hanse_cluster::{
    Commands, Keeper, KeeperParts, Member, Membership, MembershipParts, PERSISTER, Router,
    RouterParts,
    grpc::{Forwarder, ForwarderParts, Peers, Remote, Routes, ServerParts, SlotListener},
};
use hanse_event::ServerKey;
use hanse_log::{
    Applier, Bus, ClusterParts, Heard, LogParts, Notice, Position, Rows, Slot, SlotLogs, SlotMap,
};
use hanse_proto::log::{Entry, entry::Kind};
use hanse_room::{RoomParts, Rooms, room_rows};
use hanse_runtime::{Random, SystemClock, SystemRandom, Tasks};
use hanse_store::{Store, Table};
use hanse_store_embedded::{Durability, EmbeddedStore, Options};
use hanse_user::{UserConfig, UserParts, Users, name_rows, user_rows};
use parking_lot::Mutex;
use ruma::{OwnedUserId, server_name};
use tempfile::TempDir;
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc,
};

const SLOTS: u32 = 16;
/// Longest wait for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

struct Domains;

impl Applier for Domains {
    fn rows(&self, entry: &Entry, position: Position, rows: &mut Rows) {
        match &entry.kind {
            Some(Kind::Room(room)) => room_rows(room, position, rows),
            Some(Kind::User(user)) => user_rows(user, position, rows),
            Some(Kind::Name(name)) => name_rows(name, position, rows),
            None => panic!("an entry of no kind"),
        }
    }

    fn tables(&self) -> Vec<&'static Table> {
        [hanse_room::tables(), hanse_user::tables()].concat()
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

pub(crate) struct World {
    _directory: TempDir,
    store: Arc<EmbeddedStore>,
    bus: Arc<LocalBus>,
}

/// One process.
pub(crate) struct Process {
    pub(crate) id: String,
    pub(crate) logs: SlotLogs,
    pub(crate) rooms: Rooms,
    pub(crate) users: Users,
    membership: Membership,
    hand_over: Remote,
    /// In the order in which they end.
    tasks: [Tasks; 4],
    runtime: Runtime,
}

/// What a process has when it runs.
type Started = (SlotLogs, Rooms, Users, Membership, Remote);

impl World {
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let clock = SystemClock::shared();
        let mut options = Options::new(Arc::new(move || clock.now_ms()));
        options.durability = Durability::Os;
        Self {
            store: EmbeddedStore::open(directory.path(), options).unwrap(),
            _directory: directory,
            bus: Arc::default(),
        }
    }

    /// So many processes, which share the slots.
    pub(crate) async fn processes<const N: usize>(&self) -> [Process; N] {
        let names: Vec<String> = (0..N).map(|at| format!("p{at}")).collect();
        let starting = names.iter().map(|name| self.start(name));
        let processes = futures::future::join_all(starting).await;
        let processes: [Process; N] = processes.try_into().ok().unwrap();
        eventually("every slot is served", async || {
            let served = processes.iter().map(|process| process.logs.served().len());
            served.sum::<usize>() == SLOTS as usize
        })
        .await;
        processes
    }

    /// Nobody hears of anything any more.
    pub(crate) fn cut_the_bus(&self) {
        self.bus.cut.store(true, Ordering::SeqCst);
    }

    async fn start(&self, name: &str) -> Process {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let id = format!("{name}-{}", SystemRandom.alphanumeric(8));
        let tasks = [Tasks::new(), Tasks::new(), Tasks::new(), Tasks::new()];
        let store: Arc<dyn Store> = Arc::clone(&self.store) as _;
        let starting = start(id.clone(), store, Arc::clone(&self.bus), tasks.clone());
        let started = runtime.spawn(starting).await.unwrap();
        let (logs, rooms, users, membership, hand_over) = started;
        Process {
            id,
            logs,
            rooms,
            users,
            membership,
            hand_over,
            tasks,
            runtime,
        }
    }
}

async fn start(
    id: String,
    store: Arc<dyn Store>,
    bus: Arc<LocalBus>,
    [working, keeping, calling, logging]: [Tasks; 4],
) -> Started {
    let (clock, random) = (SystemClock::shared(), SystemRandom::shared());
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = SlotListener::bind(any).await.unwrap();
    let membership = Membership::join(MembershipParts {
        store: Arc::clone(&store),
        clock: Arc::clone(&clock),
        random: Arc::clone(&random),
        tasks: keeping.clone(),
        me: Member {
            id: id.clone(),
            address: listener.address().to_string(),
            roles: vec![PERSISTER.to_owned()],
            ..Member::default()
        },
    });
    let membership = membership.await.unwrap();
    let peers = Peers::new(membership.view(), None, &calling);
    let forward = Forwarder::new(ForwarderParts {
        me: id.clone(),
        peers: peers.clone(),
        store: Arc::clone(&store),
        clock: Arc::clone(&clock),
    });
    let logs = SlotLogs::start(LogParts {
        store: Arc::clone(&store),
        applier: Arc::new(Domains),
        clock: Arc::clone(&clock),
        random: Arc::clone(&random),
        tasks: logging,
        map: SlotMap::initial(SLOTS),
        owner: id.clone(),
        segment_bytes_max: LogParts::SEGMENT_BYTES_MAX,
        consumers: vec![hanse_room::DEVICE_CHANGES],
        cluster: Some(ClusterParts {
            bus,
            forward: Arc::new(forward),
            lease: membership.lease(),
        }),
    });
    let logs = logs.await.unwrap();
    let router = Router::clustered(RouterParts {
        me: id.clone(),
        peers: peers.clone(),
        logs: logs.clone(),
        store: Arc::clone(&store),
        clock: Arc::clone(&clock),
        random: Arc::clone(&random),
    });
    let (rooms, users) = domains(&store, &logs, &router, working);
    let mut commands = Commands::new();
    rooms.offer(&mut commands);
    users.offer(&mut commands);
    let hand_over = Remote::new(peers);
    let keeper = Keeper::start(KeeperParts {
        slots: Arc::new(logs.clone()),
        membership: membership.clone(),
        hand_over: Arc::new(hand_over.clone()),
        clock: Arc::clone(&clock),
        random,
        tasks: keeping,
        stay: KeeperParts::STAY,
    });
    let server = ServerParts {
        member: id,
        logs: logs.clone(),
        keeper: Some(keeper),
        commands,
        store,
        clock,
        tasks: calling,
    };
    server.serve(listener, Routes::default());
    (logs, rooms, users, membership, hand_over)
}

fn domains(
    store: &Arc<dyn Store>,
    logs: &SlotLogs,
    router: &Router,
    working: Tasks,
) -> (Rooms, Users) {
    let (clock, random) = (SystemClock::shared(), SystemRandom::shared());
    let rooms = Rooms::new(RoomParts {
        store: Arc::clone(store),
        logs: logs.clone(),
        clock: Arc::clone(&clock),
        random: Arc::clone(&random),
        server_name: server_name!("hanse.test").to_owned(),
        key: Arc::new(ServerKey::generate([7; 32], "a").unwrap()),
        rooms_held_max: 100,
        portion_bytes_max: RoomParts::PORTION_BYTES_MAX,
        router: router.clone(),
    });
    rooms.carry_device_changes();
    let users = Users::new(UserParts {
        store: Arc::clone(store),
        logs: logs.clone(),
        clock: Arc::clone(&clock),
        random: Arc::clone(&random),
        passwords: working.blocking_pool("passwords", 1, 64),
        tasks: working,
        server_name: server_name!("hanse.test").to_owned(),
        config: UserConfig {
            argon2_memory_kib: 64,
            argon2_iterations: 1,
            ..UserConfig::default()
        },
        router: router.clone(),
    });
    (rooms, users.unwrap())
}

impl Process {
    /// In the process, as its tasks do.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        self.runtime.spawn(work).await.unwrap()
    }

    /// With its users, in the process.
    pub(crate) async fn user<T, F>(&self, call: impl FnOnce(Users) -> F) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.run(call(self.users.clone())).await
    }

    /// With its rooms, in the process.
    pub(crate) async fn room<T, F>(&self, call: impl FnOnce(Rooms) -> F) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.run(call(self.rooms.clone())).await
    }

    pub(crate) fn serves(&self, key: &str) -> bool {
        self.logs.serves(self.logs.slot_of(key))
    }

    /// A name whose user is served here.
    pub(crate) fn localpart(&self, prefix: &str) -> String {
        let names = (0..10_000).map(|at| format!("{prefix}{at}"));
        let mut own = names.filter(|name| self.serves(user(name).as_str()));
        own.next().unwrap()
    }

    /// A name that is served here.
    pub(crate) fn name(&self, of: impl Fn(usize) -> String) -> String {
        let mut own = (0..10_000).map(of).filter(|name| self.serves(name));
        own.next().unwrap()
    }

    /// A slot goes to another process, as in a drain.
    pub(crate) async fn hand(&self, slot: Slot, to: &Self) {
        use hanse_cluster::HandOver;
        let successor = self.membership.view().borrow().live[&to.id].clone();
        let (logs, hand_over) = (self.logs.clone(), self.hand_over.clone());
        self.run(async move {
            logs.release(slot, &successor.id).await;
            hand_over.tell(&successor, &[slot]).await;
        })
        .await;
        eventually("the successor serves it", async || to.logs.serves(slot)).await;
    }

    /// Everything of the process is gone at once.
    pub(crate) fn kill(self) {
        self.runtime.shutdown_background();
    }

    /// As on SIGTERM.
    pub(crate) async fn drain(self) {
        self.logs.hang_up();
        let drained = async {
            for tasks in &self.tasks {
                tasks.finish().await;
            }
        };
        let drained = tokio::time::timeout(PATIENCE, drained).await;
        self.runtime.shutdown_background();
        drained.expect("the tasks end");
    }
}

pub(crate) async fn drain(processes: impl IntoIterator<Item = Process>) {
    for process in processes {
        process.drain().await;
    }
}

pub(crate) fn user(localpart: &str) -> OwnedUserId {
    format!("@{localpart}:hanse.test").try_into().unwrap()
}

/// Waits until it is so.
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
