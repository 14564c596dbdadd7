//! A lane: one case of the suite after the other, each on rows of its own.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use async_trait::async_trait;
use hanse_store::{
    Store,
    conformance::{CASES, Case, Subject},
};
use parking_lot::Mutex;
use tokio::{sync::watch, task::JoinSet, time::sleep};

use super::{
    open,
    watched::{Faults, Tally, Watched},
};

/// How often a session is asked for while a node is away.
const CONNECTS_MAX: u32 = 20;
/// Pause before an interrupted case is run again.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Cases whose contenders lose rounds to each other, and settle what they do not know.
const CONTENDING: [&str; 2] = ["one_of_many_appends_wins", "one_of_many_creates_wins"];

/// Runs cases until it is told to stop.
pub(super) struct Lane {
    number: usize,
    nodes: Vec<String>,
    faults: Arc<Faults>,
    stopped: watch::Receiver<bool>,
    tally: Arc<Mutex<Tally>>,
    runs: u64,
}

impl Lane {
    pub(super) fn open(
        number: usize,
        nodes: Vec<String>,
        faults: Arc<Faults>,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        Self {
            number,
            nodes,
            faults,
            stopped,
            tally: Arc::default(),
            runs: 0,
        }
    }

    /// The whole suite at least once, however early the end.
    pub(super) async fn run(mut self) -> anyhow::Result<Tally> {
        let store = self.session().await?;
        let mut first = true;
        while first || !*self.stopped.borrow() {
            first = false;
            for offset in 0..CASES.len() {
                // Each lane begins elsewhere, so that kills meet all cases.
                let at = (offset + self.number * 11) % CASES.len();
                let case = CASES.get(at).context("a case")?;
                self.run_case(case, &store).await;
            }
        }
        Ok(self.tally.lock().clone())
    }

    async fn session(&self) -> anyhow::Result<Arc<dyn Store>> {
        let store = Arc::new(open(self.nodes.clone()).await?);
        Ok(self.watched(store))
    }

    fn watched(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        let (faults, tally) = (Arc::clone(&self.faults), Arc::clone(&self.tally));
        Arc::new(Watched::new(store, faults, tally))
    }

    /// Runs a case until it passes, as long as what ends it is explained.
    async fn run_case(&mut self, case: &'static Case, store: &Arc<dyn Store>) {
        loop {
            self.runs += 1;
            let errors_before = self.explained();
            let subject = Rows {
                store: Arc::clone(store),
                lane: self.number,
                run: self.runs,
                again: self.reopener(),
            };
            let ended = run_alone(case, subject).await;
            if self.judge(case, ended, self.explained() > errors_before) {
                return;
            }
            sleep(AGAIN_AFTER).await;
        }
    }

    fn explained(&self) -> u64 {
        self.tally.lock().explained.values().sum()
    }

    /// Books how a case ended; false if it is to run again.
    fn judge(&self, case: &Case, ended: Result<(), String>, met_explained: bool) -> bool {
        let mut tally = self.tally.lock();
        match ended {
            Ok(()) => {
                if CONTENDING.contains(&case.name) {
                    tally.book_contention();
                }
                tally.passed += 1;
                tally.passed_away += u64::from(self.faults.is_away());
                true
            }
            Err(_) if met_explained => {
                tally.interrupted += 1;
                false
            }
            Err(panic) => {
                tally.failed.push(format!("{}: {panic}", case.name));
                true
            }
        }
    }

    fn reopener(&self) -> Self {
        Self {
            number: self.number,
            nodes: self.nodes.clone(),
            faults: Arc::clone(&self.faults),
            stopped: self.stopped.clone(),
            tally: Arc::clone(&self.tally),
            runs: self.runs,
        }
    }
}

/// Runs a case as a task of its own, whose panic is its failure.
async fn run_alone(case: &'static Case, mut subject: Rows) -> Result<(), String> {
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { (case.run)(&mut subject).await });
    match tasks.join_next().await {
        Some(Err(error)) if error.is_panic() => {
            let panic = error.into_panic();
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(text.unwrap_or_else(|| "a panic without words".to_owned()))
        }
        _ => Ok(()),
    }
}

/// The rows of one run of one case.
struct Rows {
    store: Arc<dyn Store>,
    lane: usize,
    run: u64,
    again: Lane,
}

#[async_trait]
impl Subject for Rows {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    fn prefix(&self) -> String {
        format!("{}.{}/", self.lane, self.run)
    }

    fn now_ms(&self) -> i64 {
        hanse_runtime::SystemClock::shared().now_ms()
    }

    async fn pass(&self, ms: u64) {
        sleep(Duration::from_millis(ms)).await;
    }

    /// A new session; nodes may be away meanwhile.
    #[expect(clippy::panic, reason = "a case fails by a panic")]
    async fn reopen(&mut self) {
        for attempt in 0..CONNECTS_MAX {
            match self.again.session().await {
                Ok(store) => {
                    self.store = store;
                    return;
                }
                Err(_) => sleep(AGAIN_AFTER * attempt).await,
            }
        }
        panic!("no session in {CONNECTS_MAX} attempts");
    }
}
