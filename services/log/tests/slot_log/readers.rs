//! Readers in processes that do not serve the slot: by the bus, and without it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use hanse_log::{
    AppendError, Bus, ClusterParts, Follower, Forward, Heard, Lease, LogParts, Notice, OpenError,
    Position, Slot, SlotLogs,
};
use hanse_proto::log::Entry;
use hanse_runtime::Tasks;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::world::{PATIENCE, Process, S0, S1, World, eventually, relaying};

/// A bus within this process that can be told to lose everything.
#[derive(Default)]
struct LocalBus {
    subscribers: Mutex<Vec<mpsc::Sender<Heard>>>,
    deaf: AtomicBool,
    published: AtomicUsize,
    lost: AtomicUsize,
}

impl Bus for LocalBus {
    fn publish(&self, notice: Notice) {
        self.published.fetch_add(1, Ordering::SeqCst);
        if self.deaf.load(Ordering::SeqCst) {
            self.lost.fetch_add(1, Ordering::SeqCst);
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

/// Hands over to the other process, as the cluster's client would.
#[derive(Default)]
struct Peer(Mutex<Option<SlotLogs>>);

#[async_trait]
impl Forward for Peer {
    async fn append(&self, target: Slot, entries: Vec<Entry>) -> Result<Position, AppendError> {
        let peer = self.0.lock().clone();
        let peer = peer.ok_or(AppendError::SlotLost { slot: target })?;
        peer.submit(target, None, entries)?.applied().await
    }
}

/// A lease that can be taken away.
#[derive(Default)]
struct Switch(AtomicBool);

impl Lease for Switch {
    fn is_held(&self) -> bool {
        !self.0.load(Ordering::SeqCst)
    }
}

struct Cluster {
    world: World,
    bus: Arc<LocalBus>,
}

struct Member {
    process: Process,
    peer: Arc<Peer>,
    lapsed: Arc<Switch>,
}

impl Cluster {
    fn new() -> Self {
        Self {
            world: World::new(),
            bus: Arc::default(),
        }
    }

    async fn member(&self) -> Member {
        let tasks = Tasks::new();
        let (peer, lapsed) = (Arc::new(Peer::default()), Arc::new(Switch::default()));
        let parts = LogParts {
            cluster: Some(ClusterParts {
                bus: Arc::clone(&self.bus) as _,
                forward: Arc::clone(&peer) as _,
                lease: Arc::clone(&lapsed) as _,
            }),
            ..self
                .world
                .parts(Arc::clone(&self.world.faults) as _, &tasks)
        };
        let logs = SlotLogs::start(parts).await.unwrap();
        let process = Process { logs, tasks };
        Member {
            process,
            peer,
            lapsed,
        }
    }
}

impl Member {
    /// Takes the slot, as soon as what this process did with it before has ended.
    async fn serve(&self, slot: Slot) {
        eventually("it serves", async || {
            let observed = self.process.logs.owner(slot).await.unwrap();
            let served = self.process.logs.serve(slot, &observed).await;
            !matches!(served, Err(OpenError::Busy { .. }))
        })
        .await;
        assert!(self.process.logs.served().contains(&slot));
    }

    async fn fill(&self, from: usize, count: usize) {
        for i in from..from + count {
            self.process.put(S0, &format!("k{i}")).await.unwrap();
        }
    }
}

async fn sees(follower: &mut Follower, seqs: impl Iterator<Item = i64>) {
    for seq in seqs {
        let next = tokio::time::timeout(PATIENCE, follower.next()).await;
        let batch = next.expect("the follower is stuck").unwrap().unwrap();
        assert_eq!((batch.slot, batch.point.seq), (S0, seq));
    }
}

/// Red if what an owner shows does not go to the bus, or a reader does not show what it hears.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_elsewhere_follows_by_the_bus() {
    let cluster = Cluster::new();
    let (owner, reader) = (cluster.member().await, cluster.member().await);
    let mut follower = reader.process.logs.follow();
    owner.serve(S0).await;
    owner.fill(0, 100).await;
    sees(&mut follower, 1..=100).await;
    let applied = reader.process.logs.applied(S0);
    assert!(applied >= Position::new(100, 0));
    owner.process.finish().await;
    reader.process.finish().await;
}

/// Red if `heads` is not written or not polled, or a gap is not read from the log: the last batch
/// that the bus lost would never come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_that_loses_everything_costs_only_time() {
    let cluster = Cluster::new();
    let (owner, reader) = (cluster.member().await, cluster.member().await);
    let mut follower = reader.process.logs.follow();
    owner.serve(S0).await;
    owner.fill(0, 10).await;
    sees(&mut follower, 1..=10).await;
    cluster.bus.deaf.store(true, Ordering::SeqCst);
    owner.fill(10, 90).await;
    sees(&mut follower, 11..=100).await;
    assert!(cluster.bus.lost.load(Ordering::SeqCst) >= 90);
    // And with a gap before what is heard again.
    owner.fill(100, 5).await;
    cluster.bus.deaf.store(false, Ordering::SeqCst);
    owner.fill(105, 5).await;
    sees(&mut follower, 101..=110).await;
    owner.process.finish().await;
    reader.process.finish().await;
}

/// Red if a process that takes a slot over shows less, or anything twice, to those who follow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_go_on_across_owners() {
    let cluster = Cluster::new();
    let (one, two) = (cluster.member().await, cluster.member().await);
    let reader = cluster.member().await;
    let mut follower = reader.process.logs.follow();
    let mut own = one.process.logs.follow();
    one.serve(S0).await;
    one.fill(0, 10).await;
    two.serve(S0).await;
    two.fill(10, 10).await;
    let fenced = one.process.put(S0, "fenced").await;
    assert!(matches!(fenced, Err(AppendError::SlotLost { .. })));
    two.process.logs.release(S0, "").await;
    one.serve(S0).await;
    one.fill(20, 10).await;
    sees(&mut follower, 1..=30).await;
    sees(&mut own, 1..=30).await;
    for member in [one, two, reader] {
        member.process.finish().await;
    }
}

/// Red if a relay gives up because its target is served elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_reaches_a_slot_that_is_served_elsewhere() {
    let cluster = Cluster::new();
    let (source, target) = (cluster.member().await, cluster.member().await);
    *source.peer.0.lock() = Some(target.process.logs.clone());
    source.serve(S0).await;
    target.serve(S1).await;
    let mut keys = (0..).map(|i| format!("target{i}"));
    let key = keys.find(|key| source.process.logs.slot_of(key) == S1);
    let key = key.unwrap();
    let entry = relaying("cause", &[key.as_str()]);
    source.process.put_entry(S0, entry).await.unwrap();
    let effect = format!("{key}<-cause");
    eventually("it arrives", async || {
        cluster.world.points(&effect).await.len() == 1
    })
    .await;
    source.process.finish().await;
    target.process.finish().await;
}

/// Red if a process whose lease has lapsed still takes submissions, or appends what waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_lease_nothing_is_taken() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    member.serve(S0).await;
    member.fill(0, 1).await;
    member.lapsed.0.store(true, Ordering::SeqCst);
    let refused = member.process.put(S0, "lapsed").await;
    assert!(matches!(refused, Err(AppendError::NotServed { .. })));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(cluster.world.times_logged(S0, "lapsed").await, 0);
    member.lapsed.0.store(false, Ordering::SeqCst);
    member.fill(1, 1).await;
    member.process.finish().await;
}
