//! Doing it.

use std::{ops::Range, time::Duration};

use anyhow::Context;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tokio::time::{Instant, sleep};

use super::{
    schedule::{Fault, Role},
    sender::Surroundings,
    stage::Stage,
    under_way::InFlight,
};
use crate::cql_nodes::cluster::Cluster as CqlCluster;

/// Load on a whole cluster before each fault, in milliseconds.
const LOAD_MS: Range<u64> = 1_000..2_500;
/// A killed process is away for so long, in milliseconds.
const AWAY_MS: Range<u64> = 0..2_000;
/// How long words to the store pile up before it is looked whether an append is among them …
const HELD: Duration = Duration::from_millis(500);
/// … and between that look and the next, if none is.
const LET_GO: Duration = Duration::from_millis(200);
/// So many looks: where there is load, a slot is appending for a part of the time.
const LOOKS_MAX: usize = 40;
/// How long a persister stands still: others must have taken its slots by then (TTL + 2 s).
const FROZEN: Duration = Duration::from_secs(9);
/// How long late appends may take to be refused.
const REFUSED_WITHIN: Duration = Duration::from_secs(10);
/// How long Redis is away.
const REDIS_AWAY: Duration = Duration::from_secs(4);
/// How long the effects of a fault are watched that leaves the processes whole.
const WATCHED: Duration = Duration::from_secs(4);
/// How long a node of the store is away, in milliseconds.
const CQL_AWAY_MS: Range<u64> = 6_000..12_000;
/// Persisters that there are at least.
const PERSISTERS_MIN: usize = 3;

/// Batches appended.
const BATCHES: &str = "hanse_log_batches_total";
/// Proposals that the store has not decided yet.
const UNDER_WAY: &str = "hanse_log_appends_under_way";
/// How long persisters are compared.
const COMPARED_FOR: Duration = Duration::from_secs(2);

/// The store's refusals of a former owner's appends.
pub(super) const FENCED: &str = "hanse_log_fenced_total";
/// Appends not tried, as the lease had lapsed.
pub(super) const LAPSED: &str = "hanse_log_lease_lapsed_total";
/// Slots taken over.
pub(super) const TAKEOVERS: &str = "hanse_log_takeovers_total";
/// Conditional writes whose outcome was not known at once.
pub(super) const UNKNOWN: &str = "hanse_log_unknown_total";

/// A fault that occurred.
#[derive(Clone, Debug)]
pub(super) struct Deed {
    pub(super) fault: Fault,
    pub(super) target: String,
    pub(super) began: Instant,
    /// When everything was whole again.
    pub(super) ended: Instant,
    /// Requests on their way at that moment.
    pub(super) in_flight: InFlight,
    /// Of a frozen persister: appends that the store refused it, and those that it did not try.
    pub(super) late: Late,
    /// How long an orderly end took.
    pub(super) drain: Option<Duration>,
}

/// What became of the appends of a process that was frozen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Late {
    /// Connections to the store with words on the way when it froze.
    pub(super) held: usize,
    pub(super) fenced: u64,
    pub(super) lapsed: u64,
}

/// Who does it, and what was done.
pub(super) struct Director<'a> {
    pub(super) stage: &'a mut Stage,
    pub(super) cql: Option<CqlCluster>,
    pub(super) shared: &'a Surroundings,
    pub(super) random: ChaCha8Rng,
    pub(super) deeds: Vec<Deed>,
}

impl Director<'_> {
    /// One after the other, each on a cluster that is whole and under load.
    pub(super) async fn perform(&mut self, faults: &[Fault]) -> anyhow::Result<()> {
        for fault in faults {
            self.stage.whole().await?;
            self.pause(LOAD_MS).await;
            let done = self.one(*fault).await;
            let deed = done.with_context(|| fault.to_string())?;
            tracing::info!(fault = %deed.fault, target = deed.target, took = ?(deed.ended - deed.began), "done");
            self.deeds.push(deed);
        }
        self.pause(LOAD_MS).await;
        Ok(())
    }

    async fn one(&mut self, fault: Fault) -> anyhow::Result<Deed> {
        let mut deed = self.begin(fault);
        match fault {
            Fault::Kill(role) => self.kill(role, &mut deed).await?,
            Fault::Freeze => self.freeze(&mut deed).await?,
            Fault::FlushRedis => {
                self.stage.cluster.redis.flush().await?;
                sleep(WATCHED).await;
            }
            Fault::KillRedis => {
                self.stage.cluster.redis.kill()?;
                sleep(REDIS_AWAY).await;
                self.stage.cluster.redis.run().await?;
                sleep(WATCHED).await;
            }
            Fault::AddPersister => deed.target = self.stage.add(Role::Persister).await?,
            Fault::DrainPersister => {
                deed.target = self.stage.any(Role::Persister, &mut self.random)?;
                self.drain(&mut deed).await?;
                if self.stage.running(Role::Persister).len() < PERSISTERS_MIN {
                    self.stage.node(&deed.target)?.process.spawn()?;
                }
            }
            Fault::KillCqlNode => self.kill_cql_node(&mut deed).await?,
            Fault::Roll(role, number) => {
                let running = self.stage.running(role);
                deed.target = running.get(number).cloned().context("it does not run")?;
                self.drain(&mut deed).await?;
                self.stage.node(&deed.target)?.process.spawn()?;
            }
        }
        self.stage.whole().await?;
        deed.ended = Instant::now();
        Ok(deed)
    }

    fn begin(&self, fault: Fault) -> Deed {
        let now = Instant::now();
        Deed {
            fault,
            target: String::new(),
            began: now,
            ended: now,
            in_flight: self.shared.under_way.now(),
            late: Late::default(),
            drain: None,
        }
    }

    async fn kill(&mut self, role: Role, deed: &mut Deed) -> anyhow::Result<()> {
        deed.target = self.stage.any(role, &mut self.random)?;
        self.stage.keep_counts(&deed.target).await?;
        deed.in_flight = self.shared.under_way.now();
        deed.began = Instant::now();
        self.stage.node(&deed.target)?.process.kill()?;
        self.pause(AWAY_MS).await;
        self.stage.node(&deed.target)?.process.spawn()
    }

    /// Appends are on the way while it stands still, and arrive when it has lost its slots.
    async fn freeze(&mut self, deed: &mut Deed) -> anyhow::Result<()> {
        deed.target = self.busiest().await?;
        let before = self.stage.metrics(&deed.target).await?;
        deed.in_flight = self.shared.under_way.now();
        self.hold_an_append(&deed.target).await?;
        deed.late.held = self.stage.link(&deed.target)?.waiting();
        deed.began = Instant::now();
        self.stage.node(&deed.target)?.process.freeze()?;
        sleep(FROZEN).await;
        self.stage.node(&deed.target)?.process.thaw()?;
        self.stage.link(&deed.target)?.release();
        let thawed = Instant::now();
        while thawed.elapsed() < REFUSED_WITHIN {
            let after = self.stage.metrics(&deed.target).await?;
            let since = |name| after.value(name) - before.value(name);
            deed.late.fenced = since(FENCED);
            deed.late.lapsed = since(LAPSED);
            if deed.late.fenced > 0 {
                break;
            }
            sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    /// Holds what the process says to the store, at a moment when an append is on the way.
    async fn hold_an_append(&mut self, target: &str) -> anyhow::Result<()> {
        for _ in 0..LOOKS_MAX {
            self.stage.link(target)?.hold();
            sleep(HELD).await;
            if self.stage.metrics(target).await?.value(UNDER_WAY) > 0 {
                return Ok(());
            }
            self.stage.link(target)?.release();
            sleep(LET_GO).await;
        }
        anyhow::bail!("{target} was never seen appending")
    }

    /// The persister that appends most: one with nothing to append would have nothing refused.
    async fn busiest(&mut self) -> anyhow::Result<String> {
        let mut persisters = Vec::new();
        for name in self.stage.running(Role::Persister) {
            let before = self.stage.metrics(&name).await?.value(BATCHES);
            persisters.push((name, before));
        }
        sleep(COMPARED_FOR).await;
        let mut busiest = (0, String::new());
        for (name, before) in persisters {
            let appended = self.stage.metrics(&name).await?.value(BATCHES) - before;
            busiest = busiest.max((appended, name));
        }
        Ok(busiest.1)
    }

    /// SIGTERM, and its orderly end.
    async fn drain(&mut self, deed: &mut Deed) -> anyhow::Result<()> {
        self.stage.keep_counts(&deed.target).await?;
        deed.began = Instant::now();
        let node = self.stage.node(&deed.target)?;
        node.process.terminate()?;
        node.ended_in_order().await?;
        deed.drain = Some(deed.began.elapsed());
        Ok(())
    }

    async fn kill_cql_node(&mut self, deed: &mut Deed) -> anyhow::Result<()> {
        let node = self.random.random_range(0..CqlCluster::NODES);
        let away = Duration::from_millis(self.random.random_range(CQL_AWAY_MS));
        let cql = self.cql.as_mut().context("there is one node only")?;
        deed.target = format!("node {}", node + 1);
        cql.kill(node)?;
        cql.assert_away(node).await?;
        sleep(away).await;
        cql.restart(node).await?;
        sleep(WATCHED).await;
        Ok(())
    }

    async fn pause(&mut self, ms: Range<u64>) {
        sleep(Duration::from_millis(self.random.random_range(ms))).await;
    }
}
