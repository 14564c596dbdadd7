//! Many processes that want the same slot, on the real CQL server and the real Redis.
//!
//! Each takes the slot by force whenever it likes, writes while it has it, and follows it all the time.
//! They are frozen and killed meanwhile, and Redis is flushed, killed and started again. Afterwards
//! the archives, as a last owner replays them, are held against what everybody was told.

mod child;
mod contender;
mod evidence;
mod rows;
mod verdict;

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use tokio::time::{Instant, sleep};

pub use contender::{ContenderOptions, contend};
pub use verdict::Verdict;

use self::{
    child::{Contenders, Whom},
    evidence::{Evidence, Fault},
};
use crate::RedisServer;

/// The slot that is contended for.
const SLOT: hanse_log::Slot = hanse_log::Slot(0);
/// What nobody disturbs: the time at the end in which every reader must arrive at the tail.
const QUIET: Duration = Duration::from_secs(8);
/// How long it may take until somebody has the slot.
const START_WITHIN: Duration = Duration::from_mins(1);
/// Longer than any contender lets another one have the slot.
const LATE: Duration = Duration::from_secs(6);
/// How long Redis stays away when it was killed.
const REDIS_AWAY: Duration = Duration::from_secs(6);

/// What the run does.
#[derive(Clone, Debug)]
pub struct Contention {
    /// This program; it is started again as each contender.
    pub program: PathBuf,
    /// The CQL server, `host:port`.
    pub cql: String,
    /// Copies of each row.
    pub replication: u8,
    /// How many processes contend.
    pub processes: usize,
    /// How long they are disturbed.
    pub lasts: Duration,
    /// Decides what is done to whom, and when.
    pub seed: u64,
}

impl Contention {
    /// Runs it, and says what was found.
    pub async fn run(&self) -> anyhow::Result<Verdict> {
        let directory = tempfile::tempdir()?;
        let keyspace = format!("contention_{:x}", self.seed & 0xffff_ffff);
        let options = ContenderOptions {
            cql: self.cql.clone(),
            replication: self.replication,
            keyspace,
            redis: String::new(),
        };
        let mut redis = RedisServer::start(directory.path()).await?;
        let options = ContenderOptions {
            redis: redis.url(),
            ..options
        };
        rows::create_tables(&options).await?;
        let mut evidence = Evidence::default();
        let mut contenders = Contenders::new(self.program.clone(), options.clone());
        for _ in 0..self.processes {
            contenders.start()?;
        }
        self.disturb(&mut contenders, &mut redis, &mut evidence)
            .await?;
        sleep(QUIET).await;
        contenders.end(&mut evidence);
        let archive = rows::archive(&options).await.context("the archives")?;
        Ok(Verdict::of(&evidence, &archive))
    }

    async fn disturb(
        &self,
        contenders: &mut Contenders,
        redis: &mut RedisServer,
        evidence: &mut Evidence,
    ) -> anyhow::Result<()> {
        let mut dice = ChaCha12Rng::seed_from_u64(self.seed);
        let (mut flushed, mut killed) = (false, false);
        // What every run must show, however short: a late append, and an owner that is gone.
        contenders.serving_within(START_WITHIN).await?;
        contenders
            .freeze(&mut dice, Whom::Owner, LATE, evidence)
            .await?;
        contenders.serving_within(START_WITHIN).await?;
        contenders.kill(&mut dice, Whom::Owner, evidence)?;
        contenders.start()?;
        let start = Instant::now();
        while start.elapsed() < self.lasts {
            sleep(Duration::from_millis(dice.random_range(300..1_500))).await;
            if !flushed && start.elapsed() > self.lasts / 4 {
                flushed = true;
                redis.flush().await?;
                evidence.fault(Fault::RedisFlushed);
            } else if !killed && start.elapsed() > self.lasts / 2 {
                killed = true;
                redis.kill()?;
                evidence.fault(Fault::RedisKilled);
                sleep(REDIS_AWAY).await;
                redis.run().await?;
                evidence.fault(Fault::RedisStarted);
            } else if dice.random_ratio(2, 3) {
                let frozen = Duration::from_millis(dice.random_range(500..4_000));
                contenders
                    .freeze(&mut dice, Whom::Mostly, frozen, evidence)
                    .await?;
            } else {
                contenders.kill(&mut dice, Whom::Mostly, evidence)?;
                contenders.start()?;
            }
        }
        Ok(())
    }
}
