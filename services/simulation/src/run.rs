//! A seed's run, from outside.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hanse_log::Sabotage;
use tokio::time::Instant;

use crate::{
    dice::Dice,
    executor::Executor,
    journal::{Digest, Journal, Keep},
    scene::Scene,
    tally::Tally,
    verdict::{Verdict, Violation},
    world::{Ground, World},
};

/// How a run went.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// The virtual time that passed.
    pub lasted: Duration,
    /// What was found.
    pub violations: Vec<Violation>,
    /// How often what happened.
    pub counts: BTreeMap<String, u64>,
    /// The run in short: the same for the same seed.
    pub digest: Digest,
    /// The journal, or its end.
    pub journal: Vec<String>,
}

/// Runs a seed on this thread, with a log that does one thing wrong or none.
pub fn run(seed: u64, sabotage: Option<Sabotage>, keep: Keep) -> std::io::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    Ok(runtime.block_on(play(seed, sabotage, keep)))
}

async fn play(seed: u64, sabotage: Option<Sabotage>, keep: Keep) -> Report {
    let started = Instant::now();
    let journal = Journal::new(keep);
    let scene = Scene {
        executor: Executor::new(Dice::new(seed, "turns"), journal.clone()),
        journal,
        tally: Tally::default(),
        verdict: Verdict::default(),
    };
    let ground = Ground::new(seed, sabotage, scene.clone());
    let world = World::new(Arc::clone(&ground));
    if let Err(stuck) = scene.executor.run(Arc::clone(&world).run()).await {
        scene.violated("the run comes to an end", format_args!("{stuck}"));
    }
    for panic in crate::panics::take() {
        scene.violated("nothing panics", format_args!("{panic}"));
    }
    Report {
        seed,
        lasted: started.elapsed(),
        violations: scene.verdict.all(),
        counts: scene.tally.all(),
        digest: scene.journal.digest(),
        journal: scene.journal.kept(),
    }
}
