//! The store's own suite, on a calm line and on one that is slow, hands out short pages and loses
//! answers of reads.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use async_trait::async_trait;
use hanse_runtime::Clock;
use hanse_store::{
    Store,
    conformance::{CASES, Subject, TABLES},
};
use tokio::time::Instant;

use super::{Link, ProcessStore, Rates, SimStore, Weather};
use crate::{
    clock::SimClock,
    dice::Dice,
    executor::ProcessId,
    scene::{Scene, tests::staged},
};

struct Simulated {
    store: ProcessStore,
    clock: SimClock,
}

#[async_trait]
impl Subject for Simulated {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    fn prefix(&self) -> String {
        String::new()
    }

    fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    async fn pass(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    async fn reopen(&mut self) {
        self.store.process = ProcessId(self.store.process.0 + 1);
    }
}

/// Runs the suite; gives the scene for its counts.
fn passes_the_suite(rates: &Rates) -> Scene {
    let rates = rates.clone();
    staged(|scene| async move {
        let clock = SimClock::starting_at(Instant::now());
        let store = SimStore::new(clock.clone());
        store.create_tables(TABLES).unwrap();
        let store = ProcessStore {
            scene: scene.clone(),
            store,
            process: ProcessId(1),
            link: Arc::new(Link::default()),
            weather: Weather::new(rates),
            dice: Dice::new(1, "store"),
            death: Arc::new(|_, _| {}),
            calls: Arc::new(AtomicU64::new(0)),
        };
        let mut subject = Simulated { store, clock };
        for case in CASES {
            (case.run)(&mut subject).await;
        }
        scene
    })
}

#[test]
fn a_calm_store_passes_the_suite() {
    let scene = passes_the_suite(&Rates::calm());
    assert!(scene.journal.digest().lines > 1_000);
}

#[test]
fn a_store_that_writes_piece_by_piece_passes_the_suite() {
    let slow = Rates {
        leg_ms_max: 50,
        patience: Duration::from_mins(1),
        piecewise: 1_000,
        ..Rates::calm()
    };
    let counts = passes_the_suite(&slow).tally.all();
    assert!(counts["store: rows written piece by piece"] > 3);
}
