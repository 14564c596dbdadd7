//! Rooms over an embedded store in a directory of their own, behind a probe that counts and refuses.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use hanse_cluster::Router;
use hanse_event::{Draft, ServerKey, content_of};
use hanse_log::{Applier, LogParts, Position, Rows, SlotLogs, SlotMap};
use hanse_proto::log::{Entry, entry::Kind};
use hanse_room::{
    MembershipAction, MembershipChange, NewEvent, NewRoom, RoomError, RoomParts, RoomReader, Rooms,
    Sent, TimelineEvent, TransactionKey, room_rows,
};
use hanse_runtime::{Clock, SystemClock, SystemRandom, Tasks};
use hanse_store::{
    ConditionalBatch, Consistency, Direction, Durability, Key, Kind as TableKind, Mutation,
    Outcome, Page, Range, Row, Scan, Store, StoreError, Table, Value as Column,
};
use hanse_store_embedded::{EmbeddedStore, Options};
use ruma::{
    CanonicalJsonObject, OwnedRoomId, OwnedUserId, RoomId, UserId,
    api::client::room::create_room::v3::{Request, RoomPreset},
    server_name,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Few, so that rooms share slots.
pub(crate) const SLOTS: u32 = 2;

/// A store that counts what is read, and refuses or holds appends on demand.
pub(crate) struct Probe {
    store: Arc<EmbeddedStore>,
    /// Rows asked for by key, scans and the rows they returned, appends.
    reads: AtomicUsize,
    /// Appends to refuse as `Full`, and how many to take before.
    refusals: AtomicUsize,
    spared: AtomicUsize,
    /// Held by a test to keep appends waiting.
    pub(crate) gate: tokio::sync::Mutex<()>,
    /// Appends until the store does nothing more; negative: it lives on.
    left: AtomicI64,
    /// Whether half of what the last append caused is still written.
    half: AtomicBool,
    dead: tokio::sync::Notify,
}

#[async_trait]
impl Store for Probe {
    async fn create_tables(&self, tables: &[&'static Table]) -> Result<(), StoreError> {
        self.store.create_tables(tables).await
    }

    async fn get(
        &self,
        table: &'static Table,
        key: &Key,
        consistency: Consistency,
    ) -> Result<Option<Row>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.store.get(table, key, consistency).await
    }

    async fn scan(&self, scan: Scan) -> Result<Page, StoreError> {
        let page = self.store.scan(scan).await?;
        self.reads.fetch_add(1 + page.rows.len(), Ordering::Relaxed);
        Ok(page)
    }

    async fn apply(
        &self,
        mutations: Vec<Mutation>,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let is_archive = mutations
            .iter()
            .any(|one| one.table().kind == TableKind::Stamped);
        if is_archive && self.left.load(Ordering::SeqCst) == 0 {
            if self.half.load(Ordering::SeqCst) {
                let half = mutations.len() / 2;
                let written = mutations.into_iter().take(half).collect();
                self.store.apply(written, durability).await?;
            }
            return self.die().await;
        }
        self.store.apply(mutations, durability).await
    }

    async fn conditional(&self, batch: ConditionalBatch) -> Result<Outcome, StoreError> {
        if batch.table.name == "log" {
            self.reads.fetch_add(1, Ordering::Relaxed);
            drop(self.gate.lock().await);
            let left = |left: usize| left.checked_sub(1);
            let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
            let is_spared = self.spared.fetch_update(set, get, left).is_ok();
            if !is_spared && self.refusals.fetch_update(set, get, left).is_ok() {
                return Err(StoreError::Full);
            }
            self.count_down().await;
        }
        self.store.conditional(batch).await
    }

    async fn sync(&self) -> Result<(), StoreError> {
        self.store.sync().await
    }
}

impl Probe {
    /// The store takes so many appends of the log, and what they cause but for the last, whose rows
    /// are written by half at most.
    pub(crate) fn die_at_append(&self, appends: i64, half_applied: bool) {
        self.half.store(half_applied, Ordering::SeqCst);
        self.left.store(appends, Ordering::SeqCst);
    }

    /// Returns when the store does nothing more.
    pub(crate) async fn dead(&self) {
        self.dead.notified().await;
    }

    async fn count_down(&self) {
        match self.left.load(Ordering::SeqCst) {
            0 => self.die().await,
            left if left > 0 => self.left.store(left - 1, Ordering::SeqCst),
            _ => {}
        }
    }

    async fn die<T>(&self) -> T {
        self.dead.notify_one();
        std::future::pending().await
    }

    pub(crate) fn refuse_appends(&self, count: usize) {
        self.refuse_appends_after(0, count);
    }

    /// Takes some, and then refuses some.
    pub(crate) fn refuse_appends_after(&self, taken: usize, count: usize) {
        self.spared.store(taken, Ordering::Relaxed);
        self.refusals.store(count, Ordering::Relaxed);
    }

    pub(crate) fn refusals_left(&self) -> usize {
        self.refusals.load(Ordering::Relaxed)
    }

    pub(crate) fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }
}

/// The system's clock, and what a test lets pass besides. The log and the store know nothing of that.
#[derive(Debug)]
pub(crate) struct Ahead {
    clock: Arc<dyn Clock>,
    by_ms: AtomicU64,
}

impl Ahead {
    fn by(&self) -> Duration {
        Duration::from_millis(self.by_ms.load(Ordering::SeqCst))
    }
}

impl Clock for Ahead {
    fn now_us(&self) -> i64 {
        self.clock.now_us() + self.by().as_micros() as i64
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic() + self.by()
    }
}

struct RoomDomain;

impl Applier for RoomDomain {
    fn rows(&self, entry: &Entry, position: Position, rows: &mut Rows) {
        if let Some(Kind::Room(room)) = &entry.kind {
            room_rows(room, position, rows);
        }
    }

    fn tables(&self) -> Vec<&'static Table> {
        hanse_room::tables()
    }
}

pub(crate) struct World {
    pub(crate) rooms: Rooms,
    pub(crate) probe: Arc<Probe>,
    pub(crate) directory: Arc<TempDir>,
    portion_bytes_max: usize,
    pub(crate) logs: SlotLogs,
    clock: Arc<Ahead>,
    tasks: Tasks,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::holding(100).await
    }

    pub(crate) async fn holding(rooms_held_max: u64) -> Self {
        let whole = RoomParts::PORTION_BYTES_MAX;
        Self::open(
            Arc::new(tempfile::tempdir().unwrap()),
            rooms_held_max,
            whole,
        )
        .await
    }

    /// With batches so small that one event may need several.
    pub(crate) async fn in_portions_of(bytes: usize) -> Self {
        Self::open(Arc::new(tempfile::tempdir().unwrap()), 100, bytes).await
    }

    async fn open(directory: Arc<TempDir>, rooms_held_max: u64, portion_bytes_max: usize) -> Self {
        let clock = SystemClock::shared();
        let mut options = Options::new(Arc::new(move || clock.now_ms()));
        options.durability = hanse_store_embedded::Durability::Os;
        let probe = Arc::new(Probe {
            store: EmbeddedStore::open(directory.path(), options).unwrap(),
            reads: AtomicUsize::new(0),
            refusals: AtomicUsize::new(0),
            spared: AtomicUsize::new(0),
            gate: tokio::sync::Mutex::new(()),
            left: AtomicI64::new(-1),
            half: AtomicBool::new(false),
            dead: tokio::sync::Notify::new(),
        });
        let (tasks, clock, random) = (Tasks::new(), SystemClock::shared(), SystemRandom::shared());
        let logs = SlotLogs::open(LogParts {
            store: probe.clone(),
            applier: Arc::new(RoomDomain),
            clock: clock.clone(),
            random: random.clone(),
            tasks: tasks.clone(),
            map: SlotMap::initial(SLOTS),
            owner: "a test".to_owned(),
            segment_bytes_max: LogParts::SEGMENT_BYTES_MAX,
            consumers: vec![hanse_room::DEVICE_CHANGES],
            cluster: None,
        });
        let logs = logs.await.unwrap();
        let clock = Arc::new(Ahead {
            clock,
            by_ms: AtomicU64::new(0),
        });
        let rooms = Rooms::new(RoomParts {
            store: probe.clone(),
            logs: logs.clone(),
            clock: clock.clone(),
            random,
            server_name: server_name!("hanse.test").to_owned(),
            key: Arc::new(ServerKey::generate([7; 32], "a").unwrap()),
            rooms_held_max,
            portion_bytes_max,
            router: Router::alone(),
        });
        Self {
            rooms,
            probe,
            directory,
            portion_bytes_max,
            logs,
            clock,
            tasks,
        }
    }

    /// Lets time pass for the rooms.
    pub(crate) fn later(&self, by: Duration) {
        let by_ms = by.as_millis() as u64;
        self.clock.by_ms.fetch_add(by_ms, Ordering::SeqCst);
    }

    /// Begins to collect what abandoned installations left; the first look is at once.
    pub(crate) fn collecting(&self) -> Tasks {
        let tasks = Tasks::new();
        self.rooms.collect_installations(&tasks);
        tasks
    }

    /// Collects it once.
    pub(crate) async fn collect(&self) {
        let tasks = self.collecting();
        self.settle().await;
        tasks.finish().await;
    }

    /// Ends every task in order.
    pub(crate) async fn close(self) {
        self.logs.hang_up();
        self.tasks.finish().await;
    }

    /// Ends everything, and starts anew on the same store.
    pub(crate) async fn reopen(self) -> Self {
        let directory = Arc::clone(&self.directory);
        let portion = self.portion_bytes_max;
        self.close().await;
        Self::open(directory, 100, portion).await
    }

    /// Cuts every task where it stands, and starts anew on the same store.
    pub(crate) async fn crash(self) -> Self {
        let directory = Arc::clone(&self.directory);
        self.tasks.hard().cancel();
        self.tasks.finish().await;
        let portion = self.portion_bytes_max;
        drop(self);
        Self::open(directory, 100, portion).await
    }

    /// Rows of a partition.
    pub(crate) async fn rows(&self, table: &str, partition: Vec<Column>) -> usize {
        let tables = hanse_room::tables();
        let table = tables.into_iter().find(|one| one.name == table).unwrap();
        let page = self.probe.store.scan(Scan {
            table,
            partition,
            range: Range::all(),
            direction: Direction::Forward,
            limit: Scan::LIMIT_MAX,
        });
        page.await.unwrap().rows.len()
    }

    pub(crate) fn reader(&self) -> &RoomReader {
        self.rooms.reader()
    }

    pub(crate) async fn create(&self, creator: &UserId, request: Request) -> OwnedRoomId {
        self.try_create(creator, request).await.unwrap()
    }

    pub(crate) async fn try_create(
        &self,
        creator: &UserId,
        request: Request,
    ) -> Result<OwnedRoomId, RoomError> {
        let room = NewRoom {
            creator: creator.to_owned(),
            profile: CanonicalJsonObject::new(),
            alias: None,
            request,
        };
        self.rooms.create(room).await
    }

    /// A room that anybody may join.
    pub(crate) async fn public_room(&self, creator: &UserId) -> OwnedRoomId {
        let mut request = Request::new();
        request.preset = Some(RoomPreset::PublicChat);
        self.create(creator, request).await
    }

    pub(crate) async fn say(&self, room: &RoomId, sender: &UserId, text: &str) -> Sent {
        self.try_say(room, sender, text).await.unwrap()
    }

    pub(crate) async fn try_say(
        &self,
        room: &RoomId,
        sender: &UserId,
        text: &str,
    ) -> Result<Sent, RoomError> {
        self.rooms
            .send(room, NewEvent::now(message(sender, text)))
            .await
    }

    pub(crate) async fn set(
        &self,
        room: &RoomId,
        sender: &UserId,
        (event_type, state_key): (&str, &str),
        content: Value,
    ) -> Sent {
        let content = content_of(&content).unwrap();
        let draft = Draft::state(sender.to_owned(), event_type, state_key, content);
        self.rooms.send(room, NewEvent::now(draft)).await.unwrap()
    }

    pub(crate) async fn member(
        &self,
        room: &RoomId,
        sender: &UserId,
        target: &UserId,
        action: MembershipAction,
    ) -> Result<Sent, RoomError> {
        let change = MembershipChange {
            sender: sender.to_owned(),
            target: target.to_owned(),
            action,
            content: CanonicalJsonObject::new(),
            transaction: None,
        };
        self.rooms.change_membership(room, change).await
    }

    pub(crate) async fn join(&self, room: &RoomId, user: &UserId) -> Sent {
        let joined = self.member(room, user, user, MembershipAction::Join);
        joined.await.unwrap()
    }

    /// The whole timeline, oldest first.
    pub(crate) async fn timeline(&self, room: &RoomId) -> Vec<TimelineEvent> {
        let (first, last) = (Position::BEGINNING, Position::END);
        let all = self.reader().arrivals(room, first, last, 9_000).await;
        all.unwrap().events
    }

    /// The current content of a state key.
    pub(crate) async fn content(&self, room: &RoomId, event_type: &str, key: &str) -> Value {
        let event = self
            .reader()
            .state_event(room, event_type, key, Position::END);
        let event = event.await.unwrap();
        event.map_or(Value::Null, |event| event.pdu.content_as().unwrap())
    }

    /// Waits until nobody reads or appends any more: the relays are done.
    pub(crate) async fn settle(&self) {
        loop {
            let before = self.probe.reads();
            tokio::time::sleep(Duration::from_millis(250)).await;
            if self.probe.reads() == before {
                return;
            }
        }
    }

    /// Waits until what was sent waits at the probe's gate.
    pub(crate) async fn let_them_queue(&self) {
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// Every event follows the one before: no fork, no hole.
pub(crate) fn assert_chain(timeline: &[TimelineEvent]) {
    for pair in timeline.windows(2) {
        assert_eq!(pair[1].pdu.prev_events(), [pair[0].pdu.event_id()]);
        assert_eq!(pair[1].pdu.depth(), pair[0].pdu.depth() + 1);
        assert!(pair[1].position > pair[0].position);
    }
}

pub(crate) fn user(name: &str) -> OwnedUserId {
    format!("@{name}:hanse.test").try_into().unwrap()
}

pub(crate) fn message(sender: &UserId, text: &str) -> Draft {
    let content = content_of(&json!({ "msgtype": "m.text", "body": text })).unwrap();
    Draft::message(sender.to_owned(), "m.room.message", content)
}

pub(crate) fn transaction(user: &UserId, device: &str, txn_id: &str) -> TransactionKey {
    TransactionKey {
        user_id: user.to_string(),
        device_id: device.to_owned(),
        scope: "send/m.room.message".to_owned(),
        txn_id: txn_id.to_owned(),
    }
}
