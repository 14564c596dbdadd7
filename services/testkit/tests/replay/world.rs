//! Rooms and users over an embedded store in a directory of their own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hanse_cluster::Router;
use hanse_event::ServerKey;
use hanse_log::{Applier, LogParts, Position, Rows, SlotLogs, SlotMap, tables::CURSORS};
use hanse_proto::log::{Entry, entry::Kind};
use hanse_room::{RoomParts, Rooms, room_rows};
use hanse_runtime::{SeededRandom, SystemClock, Tasks};
use hanse_store::{Consistency, Key, Store, Table, Value};
use hanse_store_embedded::{Durability, EmbeddedStore, Options};
use hanse_user::{UserConfig, UserParts, Users, name_rows, user_rows};
use ruma::server_name;
use tempfile::TempDir;

/// Few, so that keys share slots and relays cross them.
pub(crate) const SLOTS: u32 = 4;
/// How long relays may take at the end.
const SETTLED_WITHIN: Duration = Duration::from_mins(1);

/// Both domains' rows, but for what is left out on purpose.
struct Domains {
    left_out: fn(&Entry) -> bool,
    entries: AtomicUsize,
}

impl Applier for Domains {
    fn rows(&self, entry: &Entry, position: Position, rows: &mut Rows) {
        self.entries.fetch_add(1, Ordering::Relaxed);
        if (self.left_out)(entry) {
            return;
        }
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

pub(crate) struct World {
    directory: TempDir,
    starts: u64,
    left_out: fn(&Entry) -> bool,
    running: Option<Running>,
}

struct Running {
    tasks: Tasks,
    store: Arc<dyn Store>,
    logs: SlotLogs,
    rooms: Rooms,
    users: Users,
    replayed: usize,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            starts: 0,
            left_out: |_| false,
            running: None,
        }
    }

    /// Writes no rows for these entries.
    pub(crate) fn leave_out(&mut self, entries: fn(&Entry) -> bool) {
        self.left_out = entries;
    }

    /// The store alone, while nothing runs on it.
    pub(crate) fn store(&self) -> Arc<EmbeddedStore> {
        assert!(self.running.is_none(), "close first");
        self.open_store()
    }

    fn open_store(&self) -> Arc<EmbeddedStore> {
        let clock = SystemClock::shared();
        let mut options = Options::new(Arc::new(move || clock.now_ms()));
        options.durability = Durability::Os;
        EmbeddedStore::open(self.directory.path(), options).unwrap()
    }

    pub(crate) async fn open(&mut self) {
        self.starts += 1;
        let store: Arc<dyn Store> = self.open_store();
        let (tasks, clock) = (Tasks::new(), SystemClock::shared());
        let random = Arc::new(SeededRandom::new(self.starts));
        let domains = Arc::new(Domains {
            left_out: self.left_out,
            entries: AtomicUsize::new(0),
        });
        let logs = SlotLogs::open(LogParts {
            store: Arc::clone(&store),
            applier: domains.clone(),
            clock: clock.clone(),
            random: random.clone(),
            tasks: tasks.clone(),
            map: SlotMap::initial(SLOTS),
            owner: format!("owner {}", self.starts),
            segment_bytes_max: LogParts::SEGMENT_BYTES_MAX,
            consumers: vec![hanse_room::DEVICE_CHANGES],
            cluster: None,
        });
        let logs = logs.await.unwrap();
        let replayed = domains.entries.load(Ordering::Relaxed);
        let rooms = Rooms::new(RoomParts {
            store: Arc::clone(&store),
            logs: logs.clone(),
            clock: clock.clone(),
            random: random.clone(),
            server_name: server_name!("hanse.test").to_owned(),
            key: Arc::new(ServerKey::generate([7; 32], "a").unwrap()),
            rooms_held_max: 100,
            portion_bytes_max: RoomParts::PORTION_BYTES_MAX,
            router: Router::alone(),
        });
        let users = Users::new(UserParts {
            store: Arc::clone(&store),
            logs: logs.clone(),
            clock,
            random,
            passwords: tasks.blocking_pool("passwords", 1, 64),
            tasks: tasks.clone(),
            server_name: server_name!("hanse.test").to_owned(),
            config: UserConfig {
                argon2_memory_kib: 64,
                argon2_iterations: 1,
                ..UserConfig::default()
            },
            router: Router::alone(),
        });
        self.running = Some(Running {
            tasks,
            store,
            logs,
            rooms,
            users: users.unwrap(),
            replayed,
        });
    }

    /// Entries that opening the logs applied.
    pub(crate) fn replayed(&self) -> usize {
        self.running().replayed
    }

    pub(crate) fn rooms(&self) -> &Rooms {
        &self.running().rooms
    }

    pub(crate) fn users(&self) -> &Users {
        &self.running().users
    }

    fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    /// Waits until everything was relayed, and what that caused, too.
    pub(crate) async fn settle(&self) {
        tokio::time::timeout(SETTLED_WITHIN, async {
            while !self.settled().await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await
        .expect("the relays end");
    }

    async fn settled(&self) -> bool {
        let Running { store, logs, .. } = self.running();
        for slot in logs.map().slots() {
            let key = Key::new(vec![i64::from(slot.0).into()], vec!["relay".into()]);
            let row = store
                .get(&CURSORS, &key, Consistency::Serial)
                .await
                .unwrap();
            let cursor = row.and_then(|row| row.values.get(1).and_then(Value::as_i64));
            let relayed = Position::from_packed(cursor.unwrap_or(0)).seq();
            if relayed < logs.applied(slot).seq() {
                return false;
            }
        }
        true
    }

    /// Ends every task in order.
    pub(crate) async fn close(&mut self) {
        let running = self.running.take().unwrap();
        running.logs.hang_up();
        running.tasks.finish().await;
    }
}
