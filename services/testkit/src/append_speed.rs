//! How fast the slot log's append is on a CQL cluster, and where the time goes.
//!
//! Two loops, both closed: the bare conditional batch, one under way for each slot, and the real
//! [`SlotLogs`](hanse_log::SlotLogs), whose appender groups what its senders hand in. Beside them the
//! plain append and fsync of this machine's disk.

mod bare;
mod logs;
mod machine;

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use hanse_loadtest::{Latency, fsync::Fsync};
use hanse_runtime::{Clock, Random, SystemClock, SystemRandom};
use tokio::time::Instant;

use self::machine::Machine;
use crate::MeasuredCluster;

/// The most that the fsync loop writes.
const FSYNC_BYTES_MAX: u64 = 1 << 30;

/// The longest that it is measured.
const FSYNC_MEASURED_MAX: Duration = Duration::from_secs(5);

/// What to measure.
#[derive(Clone, Debug)]
pub struct AppendSpeed {
    /// The cluster; none: the embedded engine in `directory`.
    pub cluster: MeasuredCluster,
    /// Process ids of the cluster's nodes, if they run on this machine.
    pub pids: Vec<u32>,
    /// Where the fsync loop writes, and the embedded engine.
    pub directory: PathBuf,
    /// Each number of slots to measure with.
    pub slots: Vec<u32>,
    /// Entries of a bare batch, each to measure with.
    pub entries: Vec<u32>,
    /// Senders of the real logs over all slots, each to measure with.
    pub senders: Vec<u32>,
    /// Bytes of an entry.
    pub bytes: usize,
    /// Rows that an entry of the real logs writes.
    pub rows: u32,
    /// How long each is measured.
    pub measured: Duration,
    /// How long each runs before that.
    pub warm_up: Duration,
}

/// One line of figures.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) what: String,
    pub(crate) seconds: f64,
    pub(crate) batches: u64,
    pub(crate) entries: u64,
    pub(crate) latency: Latency,
    /// Unknown or unavailable answers, and senders that were told to wait.
    pub(crate) errors: u64,
}

impl AppendSpeed {
    /// Measures everything, one after the other; says each line as soon as it is known.
    pub async fn run(&self, mut say: impl FnMut(String)) -> anyhow::Result<()> {
        say(Line::head());
        say(self.with_use(self.fsync()).await?);
        for slots in &self.slots {
            // A store of its own for each number of slots.
            let name = format!("append_{slots}");
            let store = self.cluster.open_or_embedded(&self.directory, &name);
            let store = store.await?;
            store.create_tables(&[&hanse_log::tables::LOG]).await?;
            for entries in &self.entries {
                say(self
                    .with_use(bare::measure(self, &store, *slots, *entries))
                    .await?);
            }
            for senders in &self.senders {
                say(self
                    .with_use(logs::measure(self, &store, *slots, *senders))
                    .await?);
            }
        }
        Ok(())
    }

    /// The line, and who used the processors while it was measured (its warm-up included).
    async fn with_use(
        &self,
        line: impl Future<Output = anyhow::Result<impl fmt::Display>>,
    ) -> anyhow::Result<String> {
        let before = Machine::now(&self.pids)?;
        let line = line.await?;
        let used = before.until(&Machine::now(&self.pids)?)?;
        Ok(format!("{line} {used}"))
    }

    /// What the disk does alone.
    async fn fsync(&self) -> anyhow::Result<String> {
        let fsync = Fsync {
            directory: self.directory.clone(),
            bytes: self.bytes,
            measured: self.measured.min(FSYNC_MEASURED_MAX),
            bytes_max: FSYNC_BYTES_MAX,
        };
        let fsync = tokio::task::spawn_blocking(move || fsync.run()).await??;
        let figure = |name: &str| fsync.figure(name).unwrap_or_default();
        Ok(format!(
            "| plain append and fsync, one at a time | {:.0} | {:.0} | {:.2} | {:.2} | 0 |",
            figure("syncs"),
            figure("syncs"),
            figure("sync p50"),
            figure("sync p99"),
        ))
    }
}

/// Time and randomness of the measured logs.
pub(crate) fn surroundings() -> (Arc<dyn Clock>, Arc<dyn Random>) {
    (SystemClock::shared(), SystemRandom::shared())
}

/// When measuring begins and ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Period {
    pub(crate) begin: Instant,
    pub(crate) end: Instant,
}

impl Period {
    pub(crate) fn of(speed: &AppendSpeed) -> Self {
        let begin = Instant::now() + speed.warm_up;
        let end = begin + speed.measured;
        Self { begin, end }
    }

    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    /// Whether something that began and ended at these times is measured.
    pub(crate) fn holds(&self, began: Instant, ended: Instant) -> bool {
        began >= self.begin && ended <= self.end
    }
}

impl Line {
    fn head() -> String {
        "| what | batches/s | entries/s | p50 ms | p99 ms | errors | cores: cluster | own | others | load |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
            .to_owned()
    }
}

impl fmt::Display for Line {
    #[expect(clippy::cast_precision_loss, reason = "no run counts to 2^52")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = |count: u64| count as f64 / self.seconds;
        write!(
            f,
            "| {} | {:.0} | {:.0} | {:.2} | {:.2} | {} |",
            self.what,
            each(self.batches),
            each(self.entries),
            self.latency.quantile_ms(0.5),
            self.latency.quantile_ms(0.99),
            self.errors
        )
    }
}
