//! A user domain in a directory of its own, with a clock that moves when it is told to.

use std::{fmt::Write, sync::Arc, time::Duration};

use async_trait::async_trait;
use hanse_cluster::Router;
use hanse_log::{Applier, LogParts, Position, Rows, Slot, SlotLogs, SlotMap};
use hanse_proto::log::{Entry, entry::Kind};
use hanse_runtime::{Clock, ManualClock, SeededRandom, TaskHandle, Tasks};
use hanse_store::{
    ConditionalBatch, Consistency, Direction, Durability, Key, Mutation, Outcome, Page, Range, Row,
    Scan, Store, StoreError, Table, Value,
};
use hanse_store_embedded::{EmbeddedStore, Options};
use hanse_user::{
    Account, NewSession, Proof, Registration, Session, StartedSession, UserConfig, UserParts,
    Users, name_rows, tables, user_rows,
};
use parking_lot::Mutex;
use ruma::{UserId, server_name};
use tempfile::TempDir;

/// Three slots: keys share them, and relays cross them.
const SLOTS: u32 = 3;
/// The password of everybody.
pub(crate) const PASSWORD: &str = "correct horse";

/// Writes the rows, and remembers the entries.
#[derive(Default)]
struct Recorder {
    entries: Mutex<Vec<Entry>>,
}

impl Applier for Recorder {
    fn rows(&self, entry: &Entry, position: Position, rows: &mut Rows) {
        self.entries.lock().push(entry.clone());
        match &entry.kind {
            Some(Kind::User(user)) => user_rows(user, position, rows),
            Some(Kind::Name(name)) => name_rows(name, position, rows),
            _ => {}
        }
    }

    fn tables(&self) -> Vec<&'static Table> {
        tables()
    }
}

/// A store that remembers everything that was ever written to it, as text.
struct SpiedStore {
    store: Arc<EmbeddedStore>,
    written: Arc<Mutex<String>>,
}

#[async_trait]
impl Store for SpiedStore {
    async fn create_tables(&self, tables: &[&'static Table]) -> Result<(), StoreError> {
        self.store.create_tables(tables).await
    }

    async fn get(
        &self,
        table: &'static Table,
        key: &Key,
        consistency: Consistency,
    ) -> Result<Option<Row>, StoreError> {
        self.store.get(table, key, consistency).await
    }

    async fn scan(&self, scan: Scan) -> Result<Page, StoreError> {
        self.store.scan(scan).await
    }

    async fn apply(
        &self,
        mutations: Vec<Mutation>,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let _ = write!(self.written.lock(), "{mutations:?}");
        self.store.apply(mutations, durability).await
    }

    async fn conditional(&self, batch: ConditionalBatch) -> Result<Outcome, StoreError> {
        let _ = write!(self.written.lock(), "{batch:?}");
        self.store.conditional(batch).await
    }

    async fn sync(&self) -> Result<(), StoreError> {
        self.store.sync().await
    }
}

pub(crate) struct Server {
    directory: TempDir,
    pub(crate) clock: ManualClock,
    pub(crate) config: UserConfig,
    starts: u64,
    running: Option<Running>,
    written: Arc<Mutex<String>>,
}

struct Running {
    tasks: Tasks,
    store: Arc<dyn Store>,
    users: Users,
    logs: SlotLogs,
    recorder: Arc<Recorder>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(configure: impl FnOnce(&mut UserConfig)) -> Self {
        let mut config = UserConfig {
            argon2_memory_kib: 64,
            argon2_iterations: 1,
            ..UserConfig::default()
        };
        configure(&mut config);
        let mut server = Self {
            directory: tempfile::tempdir().unwrap(),
            clock: ManualClock::at_ms(1_700_000_000_000),
            config,
            starts: 0,
            running: None,
            written: Arc::default(),
        };
        server.open().await;
        server
    }

    async fn open(&mut self) {
        self.starts += 1;
        let (tasks, random) = (Tasks::new(), Arc::new(SeededRandom::new(self.starts)));
        let clock = self.clock.clone();
        let options = Options::new(Arc::new(move || clock.now_ms()));
        let store = SpiedStore {
            store: EmbeddedStore::open(self.directory.path(), options).unwrap(),
            written: Arc::clone(&self.written),
        };
        let store: Arc<dyn Store> = Arc::new(store);
        let recorder = Arc::new(Recorder::default());
        let logs = SlotLogs::open(LogParts {
            store: Arc::clone(&store),
            applier: recorder.clone(),
            clock: Arc::new(self.clock.clone()),
            random: random.clone(),
            tasks: tasks.clone(),
            map: SlotMap::initial(SLOTS),
            owner: "test".to_owned(),
            segment_bytes_max: LogParts::SEGMENT_BYTES_MAX,
            consumers: Vec::new(),
            cluster: None,
        });
        let logs = logs.await.unwrap();
        let users = Users::new(UserParts {
            store: Arc::clone(&store),
            logs: logs.clone(),
            clock: Arc::new(self.clock.clone()),
            random,
            tasks: tasks.clone(),
            passwords: tasks.blocking_pool("passwords", 1, 64),
            server_name: server_name!("hanse.test").to_owned(),
            config: self.config.clone(),
            router: Router::alone(),
        });
        let users = users.unwrap();
        self.running = Some(Running {
            tasks,
            store,
            users,
            logs,
            recorder,
        });
    }

    /// Cuts every task where it stands, and starts again on the same directory.
    pub(crate) async fn crash_and_restart(&mut self) {
        let running = self.running.take().unwrap();
        running.tasks.hard().cancel();
        running.tasks.finish().await;
        drop(running);
        self.open().await;
    }

    pub(crate) fn users(&self) -> &Users {
        &self.running.as_ref().unwrap().users
    }

    pub(crate) fn logs(&self) -> &SlotLogs {
        &self.running.as_ref().unwrap().logs
    }

    pub(crate) fn spawn<F>(&self, future: F) -> TaskHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.running.as_ref().unwrap().tasks.spawn("test", future)
    }

    /// Runs `count` calls at once; their results.
    pub(crate) async fn at_once<T, F>(
        &self,
        count: usize,
        call: impl Fn(Users, usize) -> F,
    ) -> Vec<T>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let calls: Vec<_> = (0..count)
            .map(|at| self.spawn(call(self.users().clone(), at)))
            .collect();
        let mut results = Vec::new();
        for call in calls {
            results.push(call.await.unwrap().unwrap());
        }
        results
    }

    /// Entries decided by this process (and replayed at its start) that satisfy the question.
    pub(crate) fn entries(&self, which: impl Fn(&Entry) -> bool) -> usize {
        let recorder = &self.running.as_ref().unwrap().recorder;
        recorder
            .entries
            .lock()
            .iter()
            .filter(|entry| which(entry))
            .count()
    }

    /// Rows of a partition of a table, at most 10,000.
    pub(crate) async fn rows(&self, table: &str, partition: Vec<Value>) -> usize {
        let scan = Scan {
            table: tables()
                .into_iter()
                .find(|known| known.name == table)
                .unwrap(),
            partition,
            range: Range::all(),
            direction: Direction::Forward,
            limit: 10_000,
        };
        let page = self.running.as_ref().unwrap().store.scan(scan).await;
        page.unwrap().rows.len()
    }

    /// Whether this text was ever written to the store.
    pub(crate) fn wrote(&self, text: &str) -> bool {
        self.written.lock().contains(text)
    }

    /// Everything submitted so far is applied.
    pub(crate) async fn settle(&self) {
        for slot in 0..SLOTS {
            self.logs().barrier(Slot(slot)).await.unwrap();
        }
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    pub(crate) async fn register(&self, localpart: &str) -> Account {
        let registration = Registration {
            localpart: Some(localpart.to_owned()),
            password: Some(PASSWORD.to_owned()),
            ..Registration::default()
        };
        self.users().register(registration).await.unwrap()
    }

    pub(crate) async fn log_in(&self, user_id: &UserId, device_id: Option<&str>) -> StartedSession {
        self.users()
            .start_session(vouched(user_id, device_id, false))
            .await
            .unwrap()
    }

    pub(crate) async fn log_in_refreshing(&self, user_id: &UserId) -> StartedSession {
        self.users()
            .start_session(vouched(user_id, Some("DEVICE"), true))
            .await
            .unwrap()
    }

    pub(crate) async fn authenticate(&self, started: &StartedSession) -> Option<Session> {
        self.users()
            .authenticate(&started.tokens.access_token)
            .await
            .ok()
    }
}

pub(crate) fn vouched(user_id: &UserId, device_id: Option<&str>, refresh: bool) -> NewSession {
    NewSession {
        proof: Proof::Vouched(user_id.to_owned()),
        device_id: device_id.map(Into::into),
        initial_display_name: None,
        refresh,
    }
}
