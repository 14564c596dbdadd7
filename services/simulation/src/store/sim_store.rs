//! What has landed.

use std::sync::{Arc, OnceLock, Weak};

use hanse_runtime::Clock;
use hanse_store::{
    ConditionalBatch, Consistency, Key, Kind, Mutation, Outcome, Page, Row, Scan, StoreError, Table,
};
use parking_lot::Mutex;

use super::{Commit, Data};
use crate::{clock::SimClock, dice::Dice, executor::ProcessId};

/// Is told of every conditional batch at the moment it is applied.
pub(crate) trait Observer: Send + Sync {
    /// `process` proposed the batch, and it was applied just now.
    fn applied(&self, process: ProcessId, batch: &ConditionalBatch);

    /// Rows were written just now.
    fn written(&self, mutations: &[Mutation]);

    /// A row will not be written, although its writer will be told that it is.
    fn forgotten(&self, mutation: &Mutation);
}

/// The store's nodes, which never disagree. Clones are the same store.
#[derive(Clone)]
pub(crate) struct SimStore {
    disks: Arc<Mutex<Disks>>,
    clock: SimClock,
    observer: Arc<OnceLock<Weak<dyn Observer>>>,
}

#[derive(Default)]
struct Disks {
    data: Data,
    /// What a loss of power leaves of the tables that are not `Cas`.
    durable: Data,
    /// Written since the last sync.
    unsynced: Vec<Mutation>,
}

impl SimStore {
    /// An empty store.
    pub(crate) fn new(clock: SimClock) -> Self {
        Self {
            disks: Arc::default(),
            clock,
            observer: Arc::default(),
        }
    }

    /// Whom to tell.
    pub(crate) fn watched_by(&self, observer: Weak<dyn Observer>) {
        let _ = self.observer.set(observer);
    }

    pub(crate) fn create_tables(&self, tables: &[&'static Table]) -> Result<(), StoreError> {
        let mut disks = self.disks.lock();
        disks.durable.create_tables(tables)?;
        disks.data.create_tables(tables)
    }

    pub(crate) fn get(
        &self,
        table: &'static Table,
        key: &Key,
        consistency: Consistency,
    ) -> Result<Option<Row>, StoreError> {
        let now_ms = self.clock.now_ms();
        self.disks.lock().data.get(table, key, consistency, now_ms)
    }

    pub(crate) fn scan(&self, scan: &Scan) -> Result<Page, StoreError> {
        self.disks.lock().data.scan(scan, self.clock.now_ms())
    }

    pub(crate) fn apply(&self, mutations: &[Mutation]) -> Result<(), StoreError> {
        {
            let mut disks = self.disks.lock();
            for mutation in mutations {
                disks.data.apply(mutation, self.clock.now_ms())?;
                disks.unsynced.push(mutation.clone());
            }
        }
        if let Some(observer) = self.observer.get().and_then(Weak::upgrade) {
            observer.written(mutations);
        }
        Ok(())
    }

    /// A row is lost on its way, unnoticed.
    pub(crate) fn forget(&self, mutation: &Mutation) {
        if let Some(observer) = self.observer.get().and_then(Weak::upgrade) {
            observer.forgotten(mutation);
        }
    }

    pub(crate) fn decide(
        &self,
        process: ProcessId,
        batch: &ConditionalBatch,
        commit: Commit,
    ) -> Result<Outcome, StoreError> {
        let outcome = {
            let mut disks = self.disks.lock();
            let partition = disks.data.partition(batch.table, &batch.partition)?;
            partition.decide(batch, commit)
        };
        if outcome == Outcome::Applied
            && let Some(observer) = self.observer.get().and_then(Weak::upgrade)
        {
            observer.applied(process, batch);
        }
        Ok(outcome)
    }

    /// What was written so far survives a loss of power.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        let now_ms = self.clock.now_ms();
        let mut disks = self.disks.lock();
        for mutation in std::mem::take(&mut disks.unsynced) {
            disks.durable.apply(&mutation, now_ms)?;
        }
        Ok(())
    }

    /// Power is lost: of what was not synced, any part may be gone. Tells how many writes are.
    pub(crate) fn lose_power(&self, dice: &Dice) -> Result<u64, StoreError> {
        let now_ms = self.clock.now_ms();
        let mut lost = 0;
        let mut disks = self.disks.lock();
        for mutation in std::mem::take(&mut disks.unsynced) {
            if dice.chance(500) {
                disks.durable.apply(&mutation, now_ms)?;
            } else {
                lost += 1;
            }
        }
        let Disks { data, durable, .. } = &mut *disks;
        for kind in [Kind::Stamped, Kind::Once] {
            data.replace_kind(kind, durable);
        }
        Ok(lost)
    }

    /// Looks at the tables from outside of the run.
    pub(crate) fn inspect<T>(&self, look: impl FnOnce(&Data) -> T) -> T {
        look(&self.disks.lock().data)
    }

    /// Looks at what a loss of power would leave.
    pub(crate) fn inspect_durable<T>(&self, look: impl FnOnce(&Data) -> T) -> T {
        look(&self.disks.lock().durable)
    }
}
