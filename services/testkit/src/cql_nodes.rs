//! Runs the store's conformance suite on three CQL nodes, over and over, while one node after the
//! other is killed and brought back.
//!
//! Beside the suite writes a [`ledger`], which settles what is unknown as the slot log does, writes
//! down what was acknowledged, and reads all of it back at the end.
//!
//! An error counts as explained while a node is away, or has just come back. A case that met one and
//! panicked is run again on rows of its own; every other failure of a case fails the run.

mod cases;
pub(crate) mod cluster;
mod ledger;
mod verdict;
mod watched;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use hanse_store::Store;
use hanse_store_scylla::{ScyllaConfig, ScyllaStore};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::{sync::watch, task::JoinSet};

pub use self::verdict::Verdict;
use self::{
    cases::Lane,
    cluster::Cluster,
    ledger::{Ledger, tables},
    watched::{Faults, Tally},
};

/// Cases that run at the same time.
const LANES: usize = 4;
/// The cluster is whole between these before each kill, in milliseconds.
const WHOLE_MS: std::ops::Range<u64> = 3_000..8_000;
/// A node is away for so long before it is started again, in milliseconds.
const AWAY_MS: std::ops::Range<u64> = 6_000..14_000;
/// The keyspace. The cluster is the run's own.
const KEYSPACE: &str = "hanse";

/// What to run.
#[derive(Clone, Debug)]
pub struct ThreeNodes {
    /// Where `deploy/cql/start.sh` put a cluster of three.
    pub directory: PathBuf,
    /// That folder, `deploy/cql`.
    pub scripts: PathBuf,
    /// How often a node is killed; they take turns.
    pub kills: u32,
    /// Decides the moments.
    pub seed: u64,
    /// Never writes this acknowledged row of the ledger: the check must find it missing.
    pub sabotage: bool,
}

impl ThreeNodes {
    /// Runs it.
    pub async fn run(&self) -> anyhow::Result<Verdict> {
        let mut cluster = Cluster::of(&self.directory, &self.scripts)?;
        let faults = Arc::new(Faults::default());
        let store = Arc::new(connect(&cluster).await?);
        let conformance = hanse_store::conformance::TABLES;
        store.create_tables(conformance).await?;
        store.create_tables(&tables()).await?;
        let (stop, stopped) = watch::channel(false);
        let mut lanes = JoinSet::new();
        for number in 0..LANES {
            let (nodes, faults) = (cluster.nodes(), Arc::clone(&faults));
            lanes.spawn(Lane::open(number, nodes, faults, stopped.clone()).run());
        }
        let ledger = Ledger::new(Arc::clone(&store) as Arc<dyn Store>, self.sabotage);
        let mut ledgers = JoinSet::new();
        ledgers.spawn(ledger.write(Arc::clone(&faults), stopped));
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        for kill in 0..self.kills {
            pause(&mut random, WHOLE_MS).await;
            let node = (kill as usize) % Cluster::NODES;
            kill_and_restart(&mut cluster, node, &faults, &mut random).await?;
        }
        pause(&mut random, WHOLE_MS).await;
        stop.send_replace(true);
        let mut tally = Tally::default();
        for lane in lanes.join_all().await {
            tally.add(&lane?);
        }
        let ledger = ledgers.join_all().await.pop().context("no ledger")??;
        let checked = ledger.read_back().await?;
        Ok(Verdict {
            outages: cluster.outages(),
            tally,
            checked,
        })
    }
}

/// Kills a node, leaves it away for a while, and brings it back.
async fn kill_and_restart(
    cluster: &mut Cluster,
    node: usize,
    faults: &Faults,
    random: &mut ChaCha8Rng,
) -> anyhow::Result<()> {
    let before = faults.statements();
    faults.begin(node);
    cluster.kill(node)?;
    pause(random, AWAY_MS).await;
    cluster.assert_away(node).await?;
    cluster.restart(node).await?;
    cluster.note_statements(faults.statements() - before);
    faults.end();
    Ok(())
}

async fn pause(random: &mut ChaCha8Rng, ms: std::ops::Range<u64>) {
    tokio::time::sleep(Duration::from_millis(random.random_range(ms))).await;
}

/// A session of its own on the cluster.
async fn connect(cluster: &Cluster) -> anyhow::Result<ScyllaStore> {
    open(cluster.nodes()).await
}

async fn open(nodes: Vec<String>) -> anyhow::Result<ScyllaStore> {
    let clock = hanse_runtime::SystemClock::shared();
    let config = ScyllaConfig {
        keyspace: KEYSPACE.to_owned(),
        ..ScyllaConfig::new(nodes, Arc::new(move || clock.now_ms()))
    };
    Ok(ScyllaStore::connect(config).await?)
}
