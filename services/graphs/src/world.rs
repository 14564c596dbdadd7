//! Rooms over a store of their own.

use std::sync::Arc;

use anyhow::Result;
use clap::ValueEnum;
use hanse_cluster::Router;
use hanse_log::{Applier, LogParts, Position, Rows, SlotLogs, SlotMap};
use hanse_proto::log::{Entry, entry::Kind};
use hanse_room::{RoomParts, Rooms, room_rows};
use hanse_runtime::{SystemClock, SystemRandom, Tasks};
use hanse_store::{Store, Table};
use hanse_store_embedded::{Durability, EmbeddedStore, Options};
use hanse_store_memory::MemoryStore;
use tempfile::TempDir;

use crate::{
    cast::{our_server, server_key},
    counted::{CountedStore, Counters, RowCount},
};

const SLOTS: u32 = 1;
/// Few, so that rooms' memories come and go.
const ROOMS_HELD_MAX: u64 = 4;

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

/// What a server keeps its rows in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Storage {
    /// In memory: several times as many graphs in the same time.
    Memory,
    /// In the engine of the single process.
    Embedded,
}

impl Storage {
    /// Graphs that should share a world before it is thrown away: opening an engine takes its time,
    /// and what is in memory stays there.
    pub fn graphs_max(self) -> u64 {
        match self {
            Self::Memory => 50,
            Self::Embedded => 250,
        }
    }
}

/// A server's rooms.
pub struct World {
    /// The rooms.
    pub rooms: Rooms,
    portion_bytes_max: usize,
    logs: SlotLogs,
    store: Arc<dyn Store>,
    counters: Arc<Counters>,
    tasks: Tasks,
    _directory: Option<TempDir>,
}

impl World {
    /// Without rooms.
    pub async fn new(storage: Storage) -> Result<Self> {
        Self::in_portions_of(storage, RoomParts::PORTION_BYTES_MAX).await
    }

    /// The world of one of the orders in which a graph is fed. Every other one has each change in a
    /// batch of its own, as only large ones have otherwise.
    pub async fn for_order(storage: Storage, order: u64) -> Result<Self> {
        if order.is_multiple_of(2) {
            Self::new(storage).await
        } else {
            Self::in_portions_of(storage, 1).await
        }
    }

    async fn in_portions_of(storage: Storage, portion_bytes_max: usize) -> Result<Self> {
        let (store, directory) = opened(storage)?;
        let world = Self::of(store, portion_bytes_max).await?;
        Ok(Self {
            _directory: directory,
            ..world
        })
    }

    /// Without rooms, over an empty store.
    pub async fn over(store: Arc<dyn Store>) -> Result<Self> {
        Self::of(store, RoomParts::PORTION_BYTES_MAX).await
    }

    async fn of(store: Arc<dyn Store>, portion_bytes_max: usize) -> Result<Self> {
        let (clock, random) = (SystemClock::shared(), SystemRandom::shared());
        let (store, counters) = CountedStore::new(store);
        let tasks = Tasks::new();
        let logs = SlotLogs::open(LogParts {
            store: store.clone(),
            applier: Arc::new(RoomDomain),
            clock,
            random,
            tasks: tasks.clone(),
            map: SlotMap::initial(SLOTS),
            owner: "a trial".to_owned(),
            segment_bytes_max: LogParts::SEGMENT_BYTES_MAX,
            consumers: Vec::new(),
            cluster: None,
        });
        let logs = logs.await?;
        Ok(Self {
            rooms: rooms_of(store.clone(), &logs, portion_bytes_max)?,
            portion_bytes_max,
            logs,
            store,
            counters,
            tasks,
            _directory: None,
        })
    }

    /// Has nothing in memory of any room.
    pub fn forget(&mut self) -> Result<()> {
        self.rooms = rooms_of(self.store.clone(), &self.logs, self.portion_bytes_max)?;
        Ok(())
    }

    /// Rows read and written until now.
    pub fn row_count(&self) -> RowCount {
        self.counters.count()
    }

    /// Ends every task in order.
    pub async fn close(self) {
        self.logs.hang_up();
        self.tasks.finish().await;
    }
}

/// An empty store, and where it is.
fn opened(storage: Storage) -> Result<(Arc<dyn Store>, Option<TempDir>)> {
    let clock = SystemClock::shared();
    let now = Arc::new(move || clock.now_ms());
    if storage == Storage::Memory {
        return Ok((MemoryStore::new(now), None));
    }
    let directory = tempfile::tempdir()?;
    let mut options = Options::new(now);
    options.durability = Durability::Os;
    let store = EmbeddedStore::open(directory.path(), options)?;
    Ok((store, Some(directory)))
}

fn rooms_of(store: Arc<dyn Store>, logs: &SlotLogs, portion_bytes_max: usize) -> Result<Rooms> {
    Ok(Rooms::new(RoomParts {
        store,
        logs: logs.clone(),
        clock: SystemClock::shared(),
        random: SystemRandom::shared(),
        server_name: our_server()?,
        key: Arc::new(server_key()?),
        rooms_held_max: ROOMS_HELD_MAX,
        portion_bytes_max,
        router: Router::alone(),
    }))
}
