//! One process that contends: it tells on its standard output what it was told.

use std::{
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use clap::Args;
use hanse_bus_redis::{RedisBus, RedisBusParts, RedisTls};
use hanse_log::{AppendError, ClusterParts, Forward, Lease, LogParts, Position, Slot, SlotLogs};
use hanse_proto::log::Entry;
use hanse_runtime::{
    Clock, Random, SystemClock, SystemRandom, Tasks, config::Telemetry, telemetry,
};
use tokio::time::sleep;

use super::{SLOT, rows};

/// Entries that one process has under way.
const WRITERS: usize = 8;
/// Between two lines with its counters.
const COUNT_PERIOD: Duration = Duration::from_millis(250);
/// Longest time for which a contender lets another one have the slot.
const PATIENCE_MS: u64 = 4_000;

/// Where a contender finds the others.
#[derive(Args, Clone, Debug)]
pub struct ContenderOptions {
    /// The CQL server, host:port
    #[arg(long)]
    pub cql: String,
    /// Copies of each row
    #[arg(long, default_value_t = 1)]
    pub replication: u8,
    /// The keyspace
    #[arg(long)]
    pub keyspace: String,
    /// The Redis server's URL
    #[arg(long)]
    pub redis: String,
}

/// Has no lease to lose: this is about the store's refusals.
struct Always;

impl Lease for Always {
    fn is_held(&self) -> bool {
        true
    }
}

/// There is one slot only.
struct Nowhere;

#[async_trait]
impl Forward for Nowhere {
    async fn append(&self, slot: Slot, _: Vec<Entry>) -> Result<Position, AppendError> {
        Err(AppendError::SlotLost { slot })
    }
}

/// What every task of a contender needs.
#[derive(Clone)]
struct Contender {
    logs: SlotLogs,
    name: String,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

/// Contends until it is killed.
pub async fn contend(options: ContenderOptions) -> anyhow::Result<()> {
    let (metrics, _) = telemetry::init(&Telemetry::default(), "contender")?;
    let tasks = Tasks::new();
    let random = SystemRandom::shared();
    let bus = RedisBus::start(RedisBusParts {
        urls: vec![options.redis.clone()],
        tls: RedisTls::default(),
        deployment: options.keyspace.clone(),
        map: hanse_log::SlotMap::initial(1),
        random: Arc::clone(&random),
        tasks: tasks.clone(),
    })?;
    let parts = rows::parts(rows::store(&options).await?, &tasks);
    let name = parts.owner.clone();
    let cluster = ClusterParts {
        bus: Arc::new(bus),
        forward: Arc::new(Nowhere),
        lease: Arc::new(Always),
    };
    let logs = SlotLogs::start(LogParts {
        cluster: Some(cluster),
        ..parts
    })
    .await?;
    let contender = Contender {
        logs,
        name,
        clock: SystemClock::shared(),
        random,
    };
    tasks.spawn("follow", contender.clone().follow());
    for writer in 0..WRITERS {
        tasks.spawn("write", contender.clone().write(writer));
    }
    tasks.spawn("count", count(metrics));
    contender.take().await;
    Ok(())
}

impl Contender {
    /// Takes the slot again and again, whoever has it.
    async fn take(self) {
        loop {
            let patience = self.random.below(PATIENCE_MS);
            sleep(Duration::from_millis(patience)).await;
            if !self.logs.served().is_empty() {
                continue;
            }
            let Ok(observed) = self.logs.owner(SLOT).await else {
                continue;
            };
            match self.logs.serve(SLOT, &observed).await {
                Ok(()) => tell(&format!("serving {}", observed.epoch + 1)),
                Err(error) => tell(&format!("refused {error}")),
            }
        }
    }

    async fn write(self, writer: usize) {
        for number in 0_u64.. {
            while self.logs.served().is_empty() {
                sleep(Duration::from_millis(20)).await;
            }
            let key = format!("{}.{writer}.{number}", self.name);
            let Ok(ticket) = self.logs.submit(SLOT, None, vec![rows::entry(&key)]) else {
                sleep(Duration::from_millis(20)).await;
                continue;
            };
            if let Ok(position) = ticket.applied().await {
                let now = self.clock.now_ms();
                tell(&format!("ack {key} {} {now}", position.packed()));
            }
        }
    }

    async fn follow(self) {
        let mut follower = self.logs.follow();
        for (_, position) in follower.positions() {
            tell(&format!("from {}", position.seq()));
        }
        loop {
            match follower.next().await {
                Ok(Some(batch)) => {
                    let now = self.clock.now_ms();
                    tell(&format!("saw {} {now}", batch.point.seq));
                }
                Ok(None) => return,
                Err(hanse_log::ReadError::Trimmed { first, .. }) => {
                    tell(&format!("trimmed {}", first.seq));
                }
                Err(error) => {
                    tracing::warn!(%error, "the follower waits");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// Tells its counters, of which a killed process can no longer be asked.
async fn count(metrics: telemetry::Metrics) {
    loop {
        sleep(COUNT_PERIOD).await;
        let text = metrics.render();
        let lines = text.lines().filter(|line| line.starts_with("hanse_"));
        let counters: Vec<_> = lines.map(|line| line.replace(' ', "=")).collect();
        tell(&format!("count {}", counters.join(" ")));
    }
}

fn tell(line: &str) {
    let mut out = io::stdout().lock();
    // Whom nobody hears any more has been killed, or will be.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
