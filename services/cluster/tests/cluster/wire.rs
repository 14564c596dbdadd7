//! How the processes of a test call each other, watched.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use hanse_cluster::grpc::Routes;
use hanse_cluster::{
    HandOver, HandOverError, InProcess, Member, Membership, Router, RouterParts,
    grpc::{Forwarder, ForwarderParts, Peers, Remote, ServerParts, SlotListener},
};
use hanse_log::{AppendError, Forward, Position, Slot, SlotLogs};
use hanse_proto::log::Entry;
use hanse_runtime::{SystemClock, SystemRandom, Tasks};
use hanse_store::Store;
use parking_lot::Mutex;

use crate::proxy::Proxy;

/// Clones are the same.
#[derive(Clone)]
pub(crate) struct Wire {
    way: Way,
    pub(crate) watch: Arc<Watch>,
    /// In front of each process, by its order, if asked for.
    pub(crate) proxies: Arc<Mutex<Vec<Arc<Proxy>>>>,
}

#[derive(Clone)]
enum Way {
    InProcess(Arc<InProcess>),
    Grpc { proxied: bool },
}

/// What was asked of keepers, by all processes.
#[derive(Default)]
pub(crate) struct Watch {
    asking: AtomicUsize,
    pub(crate) asking_max: AtomicUsize,
    pub(crate) asked: AtomicUsize,
    pub(crate) moved: Mutex<Vec<Slot>>,
}

/// One process's ways to the others.
pub(crate) struct Link {
    pub(crate) hand_over: Arc<WatchedHandOver>,
    pub(crate) forward: Arc<WatchedForward>,
    pub(crate) peers: Option<Peers>,
}

impl Wire {
    pub(crate) fn in_process() -> Self {
        Self::by(Way::InProcess(Arc::default()))
    }

    pub(crate) fn grpc() -> Self {
        Self::by(Way::Grpc { proxied: false })
    }

    /// Each process behind a proxy that can swallow and cut.
    pub(crate) fn proxied() -> Self {
        Self::by(Way::Grpc { proxied: true })
    }

    fn by(way: Way) -> Self {
        Self {
            way,
            watch: Arc::default(),
            proxies: Arc::default(),
        }
    }

    /// The process's listener and the address that the others know.
    pub(crate) async fn listen(&self) -> (Option<SlotListener>, String) {
        let Way::Grpc { proxied } = self.way else {
            return (None, String::new());
        };
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = SlotListener::bind(any).await.unwrap();
        let mut address = listener.address();
        if proxied {
            let proxy = Proxy::start(address).await;
            address = proxy.address;
            self.proxies.lock().push(proxy);
        }
        (Some(listener), address.to_string())
    }

    pub(crate) fn link(
        &self,
        membership: &Membership,
        store: &Arc<dyn Store>,
        tasks: &Tasks,
    ) -> Link {
        let watch = Arc::clone(&self.watch);
        match &self.way {
            Way::InProcess(keepers) => Link {
                hand_over: Arc::new(WatchedHandOver {
                    watch,
                    way: Arc::clone(keepers) as _,
                }),
                forward: WatchedForward::over(Arc::new(NoForward)),
                peers: None,
            },
            Way::Grpc { .. } => {
                let peers = Peers::new(membership.view(), None, tasks);
                let forwarder = Forwarder::new(ForwarderParts {
                    me: membership.id().to_owned(),
                    peers: peers.clone(),
                    store: Arc::clone(store),
                    clock: SystemClock::shared(),
                });
                Link {
                    hand_over: Arc::new(WatchedHandOver {
                        watch,
                        way: Arc::new(Remote::new(peers.clone())),
                    }),
                    forward: WatchedForward::over(Arc::new(forwarder)),
                    peers: Some(peers),
                }
            }
        }
    }

    pub(crate) fn router(
        link: &Link,
        membership: &Membership,
        store: &Arc<dyn Store>,
        logs: &SlotLogs,
    ) -> Router {
        match &link.peers {
            None => Router::alone(),
            Some(peers) => Router::clustered(RouterParts {
                me: membership.id().to_owned(),
                peers: peers.clone(),
                logs: logs.clone(),
                store: Arc::clone(store),
                clock: SystemClock::shared(),
                random: SystemRandom::shared(),
            }),
        }
    }

    pub(crate) fn serve(&self, server: ServerParts, listener: Option<SlotListener>) {
        match (&self.way, listener) {
            (Way::InProcess(keepers), _) => {
                keepers.add(&server.member, server.keeper.expect("it keeps slots"));
            }
            (Way::Grpc { .. }, Some(listener)) => server.serve(listener, Routes::default()),
            (Way::Grpc { .. }, None) => panic!("it listens"),
        }
    }
}

pub(crate) struct WatchedHandOver {
    watch: Arc<Watch>,
    way: Arc<dyn HandOver>,
}

#[async_trait]
impl HandOver for WatchedHandOver {
    async fn ask(&self, owner: &Member, slot: Slot, successor: &str) -> Result<(), HandOverError> {
        let watch = &self.watch;
        watch.asked.fetch_add(1, Ordering::SeqCst);
        let asking = watch.asking.fetch_add(1, Ordering::SeqCst) + 1;
        watch.asking_max.fetch_max(asking, Ordering::SeqCst);
        let answer = self.way.ask(owner, slot, successor).await;
        if answer.is_ok() {
            watch.moved.lock().push(slot);
        }
        watch.asking.fetch_sub(1, Ordering::SeqCst);
        answer
    }

    async fn tell(&self, successor: &Member, slots: &[Slot]) {
        self.way.tell(successor, slots).await;
    }
}

/// No entry of these tests is relayed to another process.
struct NoForward;

#[async_trait]
impl Forward for NoForward {
    async fn append(&self, slot: Slot, _: Vec<Entry>) -> Result<Position, AppendError> {
        Err(AppendError::SlotLost { slot })
    }
}

/// Remembers how each append ended.
pub(crate) struct WatchedForward {
    way: Arc<dyn Forward>,
    outcomes: Mutex<Vec<Result<Position, AppendError>>>,
}

impl WatchedForward {
    fn over(way: Arc<dyn Forward>) -> Arc<Self> {
        let outcomes = Mutex::default();
        Arc::new(Self { way, outcomes })
    }

    /// Since asked last.
    pub(crate) fn outcomes(&self) -> Vec<Result<Position, AppendError>> {
        std::mem::take(&mut self.outcomes.lock())
    }
}

#[async_trait]
impl Forward for WatchedForward {
    async fn append(&self, slot: Slot, entries: Vec<Entry>) -> Result<Position, AppendError> {
        let outcome = self.way.append(slot, entries).await;
        self.outcomes.lock().push(outcome.clone());
        outcome
    }
}
