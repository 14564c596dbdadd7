//! A store whose conditional writes fail to order.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use hanse_store::{
    ConditionalBatch, ConditionalStep, Consistency, Durability, Key, Mutation, Outcome, Page, Row,
    Scan, Store, StoreError, Table, Value,
};
use hanse_store_embedded::EmbeddedStore;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// The writes of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    Append,
    TakeOver,
    Seal,
    Claim,
    Checkpoint,
    Cursor,
    Rows,
    Head,
    Other,
}

#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Applies, then says that it does not know.
    UnknownLanded,
    /// Does not apply, and says that it does not know.
    UnknownLost,
    Unavailable,
    Full,
    /// Says that it applied, and did not.
    Swallowed,
    /// Waits for a permit, then goes on.
    Held(Arc<Semaphore>),
}

struct Rule {
    write: Write,
    slot: i64,
    fault: Fault,
    left: usize,
    hits: Hits,
}

/// How often a fault occurred.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hits(Arc<AtomicUsize>);

impl Hits {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// Returns when the fault has occurred so often.
    pub(crate) async fn reach(&self, count: usize) {
        let reached = async {
            while self.count() < count {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        };
        let limit = std::time::Duration::from_secs(10);
        let waited = tokio::time::timeout(limit, reached).await;
        waited.expect("the fault never occurred");
    }
}

pub(crate) struct FaultyStore {
    inner: Arc<EmbeddedStore>,
    rules: Mutex<Vec<Rule>>,
}

impl FaultyStore {
    pub(crate) fn over(inner: Arc<EmbeddedStore>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            rules: Mutex::default(),
        })
    }

    /// The next `times` such writes fail so; rules are used up in the order in which they came.
    pub(crate) fn arm(&self, write: Write, slot: u32, fault: Fault, times: usize) -> Hits {
        let hits = Hits::default();
        self.rules.lock().push(Rule {
            write,
            slot: i64::from(slot),
            fault,
            left: times,
            hits: hits.clone(),
        });
        hits
    }

    pub(crate) fn disarm(&self) {
        self.rules.lock().clear();
    }

    fn fault(&self, write: Write, slot: i64) -> Option<Fault> {
        let mut rules = self.rules.lock();
        let matches = |rule: &&mut Rule| {
            let same_slot = matches!(write, Write::Rows | Write::Head) || rule.slot == slot;
            rule.left > 0 && rule.write == write && same_slot
        };
        let rule = rules.iter_mut().find(matches)?;
        rule.left -= 1;
        rule.hits.0.fetch_add(1, Ordering::SeqCst);
        Some(rule.fault.clone())
    }
}

fn which(batch: &ConditionalBatch) -> Write {
    let sets = |name: &str| {
        let mut all = batch.steps.iter().flat_map(ConditionalStep::set);
        all.any(|(column, _)| *column == name)
    };
    match batch.table.name {
        "log" if sets("body") => Write::Append,
        "log" if sets("sealed") => Write::Seal,
        "log" if sets("epoch") && !sets("next") => Write::TakeOver,
        "slots" if sets("owner") => Write::Claim,
        "slots" if !sets("map_version") => Write::Checkpoint,
        "cursors" => Write::Cursor,
        _ => Write::Other,
    }
}

fn unknown(table: &'static str) -> StoreError {
    StoreError::Unknown {
        table,
        source: "a time-out, to order".into(),
    }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable {
        source: "unavailable, to order".into(),
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn create_tables(&self, tables: &[&'static Table]) -> Result<(), StoreError> {
        self.inner.create_tables(tables).await
    }

    async fn get(
        &self,
        table: &'static Table,
        key: &Key,
        consistency: Consistency,
    ) -> Result<Option<Row>, StoreError> {
        self.inner.get(table, key, consistency).await
    }

    async fn scan(&self, scan: Scan) -> Result<Page, StoreError> {
        self.inner.scan(scan).await
    }

    async fn apply(
        &self,
        mutations: Vec<Mutation>,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let heads = mutations.iter().all(|m| m.table().name == "heads");
        let write = if heads { Write::Head } else { Write::Rows };
        match self.fault(write, 0) {
            Some(Fault::Swallowed) => Ok(()),
            Some(Fault::Held(gate)) => {
                gate.acquire().await.unwrap().forget();
                self.inner.apply(mutations, durability).await
            }
            Some(_) => Err(unavailable()),
            None => self.inner.apply(mutations, durability).await,
        }
    }

    async fn conditional(&self, batch: ConditionalBatch) -> Result<Outcome, StoreError> {
        let slot = batch.partition.first().and_then(Value::as_i64).unwrap();
        let table = batch.table.name;
        match self.fault(which(&batch), slot) {
            None => self.inner.conditional(batch).await,
            Some(Fault::UnknownLanded) => {
                self.inner.conditional(batch).await?;
                Err(unknown(table))
            }
            Some(Fault::UnknownLost) => Err(unknown(table)),
            Some(Fault::Full) => Err(StoreError::Full),
            Some(Fault::Unavailable | Fault::Swallowed) => Err(unavailable()),
            Some(Fault::Held(gate)) => {
                gate.acquire().await.unwrap().forget();
                self.inner.conditional(batch).await
            }
        }
    }

    async fn sync(&self) -> Result<(), StoreError> {
        self.inner.sync().await
    }
}
