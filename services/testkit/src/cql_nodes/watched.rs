//! The store under the suite: passes everything on, and counts what was answered and when.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use hanse_store::{
    ConditionalBatch, Consistency, Durability, Key, Mutation, Outcome, Page, Row, Scan, Store,
    StoreError, Table,
};
use parking_lot::Mutex;
use tokio::time::Instant;

/// A node that serves again is not yet known for it by the others, and not yet up to date: errors
/// are explained for so long after.
const EXPLAINED_AFTER: Duration = Duration::from_secs(10);

/// When nodes were away.
#[derive(Debug, Default)]
pub(super) struct Faults {
    state: Mutex<State>,
    statements: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    away: Option<usize>,
    last_end: Option<Instant>,
}

impl Faults {
    pub(super) fn begin(&self, node: usize) {
        self.state.lock().away = Some(node);
    }

    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.away = None;
        state.last_end = Some(Instant::now());
    }

    pub(super) fn is_away(&self) -> bool {
        self.state.lock().away.is_some()
    }

    /// Whether a fault explains an error at this moment.
    pub(super) fn explain(&self) -> bool {
        let state = self.state.lock();
        let just_now = |end: Instant| end.elapsed() < EXPLAINED_AFTER;
        state.away.is_some() || state.last_end.is_some_and(just_now)
    }

    /// Statements answered so far, with or without success.
    pub(super) fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }
}

/// What one lane counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Cases that passed, and those of them that ended while a node was away.
    pub(super) passed: u64,
    pub(super) passed_away: u64,
    /// Cases run again, since an explained error had ended them.
    pub(super) interrupted: u64,
    /// How each case failed that nothing explains.
    pub(super) failed: Vec<String>,
    /// Statements by verb, and errors by verb and kind.
    pub(super) statements: BTreeMap<&'static str, u64>,
    pub(super) explained: BTreeMap<(&'static str, &'static str), u64>,
    pub(super) unexplained: BTreeMap<(&'static str, &'static str), u64>,
    /// Rounds that cases of contention lost to each other, which no fault need explain.
    pub(super) contended: BTreeMap<(&'static str, &'static str), u64>,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.passed_away += other.passed_away;
        self.interrupted += other.interrupted;
        self.failed.extend(other.failed.iter().cloned());
        for (verb, count) in &other.statements {
            *self.statements.entry(verb).or_default() += count;
        }
        for (what, count) in &other.explained {
            *self.explained.entry(*what).or_default() += count;
        }
        for (what, count) in &other.unexplained {
            *self.unexplained.entry(*what).or_default() += count;
        }
        for (what, count) in &other.contended {
            *self.contended.entry(*what).or_default() += count;
        }
    }

    pub(super) fn errors(&self) -> u64 {
        let with_fault = self.explained.values();
        let without = self.unexplained.values().chain(self.contended.values());
        with_fault.chain(without).sum()
    }

    /// Books what a case of contention met without a fault.
    pub(super) fn book_contention(&mut self) {
        for (what, count) in std::mem::take(&mut self.unexplained) {
            *self.contended.entry(what).or_default() += count;
        }
    }
}

/// A store that counts.
pub(super) struct Watched {
    store: Arc<dyn Store>,
    faults: Arc<Faults>,
    tally: Arc<Mutex<Tally>>,
}

impl Watched {
    pub(super) fn new(
        store: Arc<dyn Store>,
        faults: Arc<Faults>,
        tally: Arc<Mutex<Tally>>,
    ) -> Self {
        Self {
            store,
            faults,
            tally,
        }
    }

    fn note<T>(&self, verb: &'static str, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        self.faults.statements.fetch_add(1, Ordering::Relaxed);
        let mut tally = self.tally.lock();
        *tally.statements.entry(verb).or_default() += 1;
        let kind = match &answer {
            Err(StoreError::Unknown { .. }) => "unknown",
            Err(StoreError::Unavailable { .. }) => "unavailable",
            _ => return answer,
        };
        let errors = if self.faults.explain() {
            &mut tally.explained
        } else {
            &mut tally.unexplained
        };
        *errors.entry((verb, kind)).or_default() += 1;
        answer
    }
}

#[async_trait]
impl Store for Watched {
    async fn create_tables(&self, tables: &[&'static Table]) -> Result<(), StoreError> {
        self.store.create_tables(tables).await
    }

    async fn get(
        &self,
        table: &'static Table,
        key: &Key,
        consistency: Consistency,
    ) -> Result<Option<Row>, StoreError> {
        self.note("get", self.store.get(table, key, consistency).await)
    }

    async fn scan(&self, scan: Scan) -> Result<Page, StoreError> {
        self.note("scan", self.store.scan(scan).await)
    }

    async fn apply(
        &self,
        mutations: Vec<Mutation>,
        durability: Durability,
    ) -> Result<(), StoreError> {
        self.note("apply", self.store.apply(mutations, durability).await)
    }

    async fn conditional(&self, batch: ConditionalBatch) -> Result<Outcome, StoreError> {
        self.note("conditional", self.store.conditional(batch).await)
    }

    async fn sync(&self) -> Result<(), StoreError> {
        self.store.sync().await
    }
}
