//! A process's way to the store: counted, and cut or held to order.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use hanse_store::{
    ConditionalBatch, ConditionalStep, Consistency, Durability, Key, Mutation, Outcome, Page, Row,
    Scan, Store, StoreError, Table,
};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::world::now;

/// Statements, by verb and table.
#[derive(Default)]
pub(crate) struct Counts(Mutex<BTreeMap<String, usize>>);

impl Counts {
    pub(crate) fn take(&self) -> BTreeMap<String, usize> {
        std::mem::take(&mut self.0.lock())
    }

    fn count(&self, verb: &str, table: &str) {
        *self.0.lock().entry(format!("{verb} {table}")).or_default() += 1;
    }
}

/// One process's way.
pub(crate) struct Way {
    store: Arc<dyn Store>,
    counts: Arc<Counts>,
    /// Appends wait here, if there is one: on their way, and not in the store yet.
    held: Mutex<Option<Arc<Semaphore>>>,
    pub(crate) appends_held: AtomicUsize,
    /// Nothing comes through.
    pub(crate) cut: AtomicBool,
    /// Nothing comes through to table `members`.
    pub(crate) mute: AtomicBool,
    /// Answers to renewals take this long, in milliseconds.
    pub(crate) answer_ms: AtomicU64,
    /// When the last renewal landed.
    pub(crate) landed: Mutex<Option<Instant>>,
    /// Of every three renewals, one lands in doubt and one is lost in doubt.
    pub(crate) doubtful: AtomicBool,
    renewals: AtomicUsize,
}

impl Way {
    pub(crate) fn to(store: Arc<dyn Store>, counts: Arc<Counts>) -> Arc<Self> {
        Arc::new(Self {
            store,
            counts,
            held: Mutex::default(),
            appends_held: AtomicUsize::new(0),
            cut: AtomicBool::new(false),
            mute: AtomicBool::new(false),
            answer_ms: AtomicU64::new(0),
            landed: Mutex::default(),
            doubtful: AtomicBool::new(false),
            renewals: AtomicUsize::new(0),
        })
    }

    /// Holds appends back until permits are added.
    pub(crate) fn hold_appends(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.held.lock() = Some(Arc::clone(&gate));
        gate
    }

    fn through(&self, verb: &str, table: &str) -> Result<(), StoreError> {
        self.counts.count(verb, table);
        let mute = table == "members" && self.mute.load(Ordering::SeqCst);
        if mute || self.cut.load(Ordering::SeqCst) {
            let source = "cut, to order".into();
            return Err(StoreError::Unavailable { source });
        }
        Ok(())
    }

    async fn hold(&self, batch: &ConditionalBatch) {
        let mut set = batch.steps.iter().flat_map(ConditionalStep::set);
        if batch.table.name != "log" || !set.any(|(name, _)| *name == "body") {
            return;
        }
        let gate = self.held.lock().clone();
        if let Some(gate) = gate {
            self.appends_held.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.unwrap().forget();
        }
    }

    async fn renew(&self, batch: ConditionalBatch) -> Result<Outcome, StoreError> {
        let outcome = self.store.conditional(batch).await?;
        *self.landed.lock() = Some(now());
        let wait = Duration::from_millis(self.answer_ms.load(Ordering::SeqCst));
        tokio::time::sleep(wait).await;
        Ok(outcome)
    }

    async fn in_doubt(&self, batch: ConditionalBatch) -> Result<Outcome, StoreError> {
        let unknown = || StoreError::Unknown {
            table: "members",
            source: "a time-out, to order".into(),
        };
        match self.renewals.fetch_add(1, Ordering::SeqCst) % 3 {
            0 => self.store.conditional(batch).await,
            1 => {
                self.store.conditional(batch).await?;
                Err(unknown())
            }
            _ => Err(unknown()),
        }
    }
}

#[async_trait]
impl Store for Way {
    async fn create_tables(&self, tables: &[&'static Table]) -> Result<(), StoreError> {
        self.store.create_tables(tables).await
    }

    async fn get(
        &self,
        table: &'static Table,
        key: &Key,
        consistency: Consistency,
    ) -> Result<Option<Row>, StoreError> {
        self.through("get", table.name)?;
        self.store.get(table, key, consistency).await
    }

    async fn scan(&self, scan: Scan) -> Result<Page, StoreError> {
        self.through("scan", scan.table.name)?;
        self.store.scan(scan).await
    }

    async fn apply(
        &self,
        mutations: Vec<Mutation>,
        durability: Durability,
    ) -> Result<(), StoreError> {
        self.through("apply", mutations.first().map_or("", |m| m.table().name))?;
        self.store.apply(mutations, durability).await
    }

    async fn conditional(&self, batch: ConditionalBatch) -> Result<Outcome, StoreError> {
        self.through("conditional", batch.table.name)?;
        self.hold(&batch).await;
        if batch.table.name == "members" && self.doubtful.load(Ordering::SeqCst) {
            return self.in_doubt(batch).await;
        }
        if batch.table.name == "members" {
            return self.renew(batch).await;
        }
        self.store.conditional(batch).await
    }

    async fn sync(&self) -> Result<(), StoreError> {
        self.through("sync", "")?;
        self.store.sync().await
    }
}
