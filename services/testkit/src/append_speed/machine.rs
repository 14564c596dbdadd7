//! Who used the processors meanwhile: the cluster, this process, and everybody else.

use std::{fmt, fs, time::Duration};

use anyhow::Context;
use hanse_loadtest::Watched;
use tokio::time::Instant;

/// Linux counts processor time in hundredths of a second towards programs, on every architecture.
const TICK: Duration = Duration::from_millis(10);

/// Fields of the first line of `/proc/stat` that are time at work: user, nice, system, then irq and
/// softirq; the two between them are idle and waiting for the disk.
const AT_WORK: [usize; 5] = [0, 1, 2, 5, 6];

/// Processor time so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Machine {
    at: Instant,
    cluster: Duration,
    own: Duration,
    all: Duration,
}

/// Processors in use over a while, as a number of them, and the load average at its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Used {
    cluster: f64,
    own: f64,
    others: f64,
    load: f64,
}

impl Machine {
    /// As it is now; `nodes` are the process ids of the cluster.
    pub(super) fn now(nodes: &[u32]) -> anyhow::Result<Self> {
        let mut cluster = Duration::ZERO;
        for node in nodes {
            cluster += Watched::pid(*node).usage()?.cpu;
        }
        let stat = fs::read_to_string("/proc/stat")?;
        Ok(Self {
            at: Instant::now(),
            cluster,
            own: Watched::own().usage()?.cpu,
            all: at_work(&stat).context("/proc/stat is not understood")?,
        })
    }

    /// What was used from then until `later`.
    pub(super) fn until(&self, later: &Self) -> anyhow::Result<Used> {
        let load = fs::read_to_string("/proc/loadavg")?;
        let load = load.split_ascii_whitespace().next();
        let cluster = later.cluster.saturating_sub(self.cluster);
        let own = later.own.saturating_sub(self.own);
        let others = later.all.saturating_sub(self.all + cluster + own);
        let seconds = (later.at - self.at).as_secs_f64();
        Ok(Used {
            cluster: cluster.as_secs_f64() / seconds,
            own: own.as_secs_f64() / seconds,
            others: others.as_secs_f64() / seconds,
            load: load.context("/proc/loadavg is empty")?.parse()?,
        })
    }
}

fn at_work(stat: &str) -> Option<Duration> {
    let fields: Vec<&str> = stat.lines().next()?.split_ascii_whitespace().collect();
    let mut ticks = 0;
    for field in AT_WORK {
        ticks += fields.get(field + 1)?.parse::<u32>().ok()?;
    }
    Some(TICK * ticks)
}

impl fmt::Display for Used {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cluster,
            own,
            others,
            load,
        } = self;
        write!(f, "{cluster:.2} | {own:.2} | {others:.2} | {load:.1} |")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_for_the_disk_is_not_at_work() {
        let stat = "cpu  1 20 300 4000 50000 7 80 0 0 0\ncpu0 9 9 9 9 9 9 9 0 0 0\n";
        assert_eq!(at_work(stat), Some(TICK * 408));
        assert_eq!(at_work("cpu 1 2"), None);
    }

    #[test]
    fn each_is_told_apart() {
        let then = Machine {
            at: Instant::now(),
            cluster: Duration::from_secs(5),
            own: Duration::from_secs(1),
            all: Duration::from_secs(100),
        };
        let later = Machine {
            at: then.at + Duration::from_secs(10),
            cluster: Duration::from_secs(10),
            own: Duration::from_secs(3),
            all: Duration::from_secs(118),
        };
        let used = then.until(&later).unwrap();
        assert!(
            used.to_string().starts_with("0.50 | 0.20 | 1.10 |"),
            "{used}"
        );
    }
}
