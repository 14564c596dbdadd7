//! The store itself: opening, closing, and the verbs.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::sync_channel,
    },
    thread::JoinHandle,
};

use async_trait::async_trait;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use hanse_store::{
    ConditionalBatch, Consistency, Key, Kind, Mutation, Outcome, Page, Row, Scan, Store,
    StoreError, Table,
};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::{
    OpenError, Options, catalog,
    disk::{self, Refusal},
    key::TableId,
    purge::Purge,
    syncer::{self, Journal},
    writer::{self, Reply, Request, Work},
};

const KIB: usize = 1024;

/// The embedded store: one directory, one process.
pub struct EmbeddedStore {
    pub(crate) core: Arc<Core>,
    /// `None` once the store is being dropped.
    queue: Option<mpsc::Sender<Request>>,
    queue_kib: Arc<Semaphore>,
    threads: Vec<JoinHandle<()>>,
}

/// What the writer thread and the readers share.
pub(crate) struct Core {
    pub(crate) db: Database,
    pub(crate) cas: Keyspace,
    stamped: Keyspace,
    once: Keyspace,
    catalog: Mutex<Keyspace>,
    tables: RwLock<HashMap<&'static str, TableId>>,
    pub(crate) options: Options,
    pub(crate) path: PathBuf,
    /// How many conditional batches were begun.
    pub(crate) decisions: AtomicU64,
    /// Up to which of them all are on disk.
    pub(crate) safe_decisions: AtomicU64,
    /// Whether a write to the journal failed.
    pub(crate) poisoned: AtomicBool,
}

impl EmbeddedStore {
    /// Opens the store in this directory, and creates it if need be. Replays the engine's journal,
    /// so everything that was answered is there, whatever ended the last process.
    ///
    /// Takes as long as the journal is long (a second for some hundred megabytes): call it off the
    /// async threads.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Arc<Self>, OpenError> {
        let core = Arc::new(Core::open(path.as_ref(), options)?);
        let journal = Journal::newest(path.as_ref()).map_err(OpenError::Journal)?;
        let (queue, waiting) = mpsc::channel(writer::QUEUE_LEN_MAX);
        let (groups, flushed) = sync_channel(syncer::GROUPS_MAX);
        let shared = (Arc::clone(&core), Arc::clone(&core));
        let threads = vec![
            start("store-writer", move || {
                writer::run(shared.0, groups, waiting);
            })?,
            start("store-syncer", move || {
                syncer::run(&shared.1, journal, &flushed);
            })?,
        ];
        Ok(Arc::new(Self {
            core,
            queue: Some(queue),
            queue_kib: Arc::new(Semaphore::new(writer::QUEUE_KIB_MAX)),
            threads,
        }))
    }

    /// Whether a write to the journal failed, so that every write is refused until the store is
    /// opened again. A process should report itself unhealthy and be restarted.
    pub fn is_poisoned(&self) -> bool {
        self.core.poisoned.load(Ordering::Acquire)
    }

    async fn ask<T>(
        &self,
        table: &'static str,
        bytes: usize,
        work: impl FnOnce(Reply<T>) -> Work,
    ) -> Result<T, StoreError> {
        let kib = u32::try_from(bytes / KIB + 1).unwrap_or(u32::MAX);
        let share = Arc::clone(&self.queue_kib)
            .try_acquire_many_owned(kib)
            .map_err(|_| Refusal::QueueFull)?;
        let (reply, answer) = oneshot::channel();
        let request = Request {
            work: work(reply),
            share,
        };
        let queue = self.queue.as_ref().ok_or(Refusal::Closed)?;
        queue.try_send(request).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => Refusal::QueueFull,
            mpsc::error::TrySendError::Closed(_) => Refusal::Closed,
        })?;
        answer.await.unwrap_or_else(|_| {
            Err(StoreError::Unknown {
                table,
                source: Box::new(Refusal::Closed),
            })
        })
    }
}

impl Drop for EmbeddedStore {
    /// Waits until what waits is answered.
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
    }
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(work).map_err(OpenError::Thread)
}

impl Core {
    fn open(path: &Path, options: Options) -> Result<Self, OpenError> {
        let db = open_database(path, &options)?;
        let open = |name: &str| db.keyspace(name, KeyspaceCreateOptions::default);
        let (cas, stamped, once) = (open("cas")?, open("stamped")?, open("once")?);
        let catalog = Mutex::new(open("catalog")?);
        Ok(Self {
            db,
            cas,
            stamped,
            once,
            catalog,
            tables: RwLock::default(),
            options,
            path: path.to_owned(),
            decisions: AtomicU64::new(0),
            safe_decisions: AtomicU64::new(0),
            poisoned: AtomicBool::new(false),
        })
    }

    /// Where the rows of tables of this kind are.
    pub(crate) fn keyspace(&self, kind: Kind) -> &Keyspace {
        match kind {
            Kind::Stamped => &self.stamped,
            Kind::Cas => &self.cas,
            Kind::Once => &self.once,
        }
    }

    /// The number of a table that was created.
    pub(crate) fn table_id(&self, table: &Table) -> Result<TableId, StoreError> {
        let id = self.tables.read().get(table.name).copied();
        id.ok_or_else(|| table.misuse("it was not created"))
    }

    /// The time by the store's clock.
    pub(crate) fn now_ms(&self) -> i64 {
        (self.options.clock)()
    }

    fn decisions_are_safe(&self) -> bool {
        let begun = self.decisions.load(Ordering::Acquire);
        self.safe_decisions.load(Ordering::Acquire) >= begun
    }

    fn create_tables(&self, tables: &[&'static Table]) -> Result<(), StoreError> {
        let catalog = self.catalog.lock();
        for table in tables {
            let id = catalog::create(&catalog, table)?;
            self.tables.write().insert(table.name, id);
        }
        self.db
            .persist(PersistMode::SyncAll)
            .map_err(disk::write_failed)
    }
}

fn open_database(path: &Path, options: &Options) -> Result<Database, OpenError> {
    let clock = Arc::clone(&options.clock);
    let db = Database::builder(path)
        // Every group ends with one hand-over of its own.
        .manual_journal_persist(true)
        .cache_size(options.cache_bytes)
        .with_compaction_filter_factories(Arc::new(move |keyspace| match keyspace {
            "stamped" => Purge::of(Kind::Stamped, &clock),
            "once" => Purge::of(Kind::Once, &clock),
            _ => None,
        }))
        .open()?;
    Ok(db)
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn create_tables(&self, tables: &[&'static Table]) -> Result<(), StoreError> {
        self.core.create_tables(tables)
    }

    async fn get(
        &self,
        table: &'static Table,
        key: &Key,
        consistency: Consistency,
    ) -> Result<Option<Row>, StoreError> {
        table.check_get(key, consistency)?;
        let row = self.core.get(table, key)?;
        if consistency == Consistency::Serial && !self.core.decisions_are_safe() {
            // What was just read may rest on a batch that is not on disk yet.
            self.sync().await?;
        }
        Ok(row)
    }

    async fn scan(&self, scan: Scan) -> Result<Page, StoreError> {
        scan.check()?;
        self.core.scan(&scan)
    }

    async fn apply(
        &self,
        mutations: Vec<Mutation>,
        durability: hanse_store::Durability,
    ) -> Result<(), StoreError> {
        let Some(first) = mutations.first() else {
            return Ok(());
        };
        let table = first.table().name;
        mutations.iter().try_for_each(Mutation::check)?;
        let bytes = Mutation::check_total(&mutations)?;
        let synced = durability == hanse_store::Durability::Synced;
        self.ask(table, bytes, |reply| Work::Apply {
            mutations,
            synced,
            reply,
        })
        .await
    }

    async fn conditional(&self, batch: ConditionalBatch) -> Result<Outcome, StoreError> {
        batch.check()?;
        let (table, bytes) = (batch.table.name, batch.bytes());
        self.ask(table, bytes, |reply| Work::Conditional { batch, reply })
            .await
    }

    async fn sync(&self) -> Result<(), StoreError> {
        self.ask("", 0, |reply| Work::Sync { reply }).await
    }
}
