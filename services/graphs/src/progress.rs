//! How far a run has come, so that a long one can be run in stretches.

use std::{collections::BTreeMap, fs, io, path::Path};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::Counts;

/// Failures that are kept in words.
const FAILURES_MAX: usize = 20;

/// What was seen of some graphs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// All of them counted.
    pub counts: Counts,
    /// How many failed.
    pub failed: u64,
    /// The first failures, in words.
    pub failures: Vec<String>,
}

/// Which graphs were fed, from a first one on without a gap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    from: u64,
    orders: u64,
    /// The next seed.
    next: u64,
    seen: Seen,
    /// Stretches before which something is still being fed: from a seed to before another.
    #[serde(skip)]
    ahead: BTreeMap<u64, (u64, Seen)>,
}

impl Seen {
    /// One graph was fed in all its orders.
    pub fn add(&mut self, fed: Result<Counts>) {
        match fed {
            Ok(counts) => self.counts += counts,
            Err(error) => self.fail(&error),
        }
    }

    /// Something failed.
    pub fn fail(&mut self, error: &anyhow::Error) {
        self.failed += 1;
        self.failures.push(format!("{error:#}"));
        self.failures.truncate(FAILURES_MAX);
    }

    fn join(&mut self, other: Self) {
        self.counts += other.counts;
        self.failed += other.failed;
        self.failures.extend(other.failures);
        self.failures.truncate(FAILURES_MAX);
    }
}

impl Progress {
    /// Nothing was fed.
    pub fn begin(from: u64, orders: u64) -> Self {
        Self {
            from,
            orders,
            next: from,
            seen: Seen::default(),
            ahead: BTreeMap::new(),
        }
    }

    /// What an earlier run wrote; a file that is not there says that there was none. It must have
    /// begun at the same seed and fed as many orders.
    pub fn read(file: &Path, from: u64, orders: u64) -> Result<Self> {
        let text = match fs::read_to_string(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::begin(from, orders));
            }
            text => text.with_context(|| file.display().to_string())?,
        };
        let progress: Self = serde_json::from_str(&text)?;
        ensure!(
            (progress.from, progress.orders) == (from, orders),
            "{} is of a run from seed {} in {} orders",
            file.display(),
            progress.from,
            progress.orders
        );
        Ok(progress)
    }

    /// Writes it in one step.
    pub fn write(&self, file: &Path) -> Result<()> {
        let new = file.with_extension("new");
        fs::write(&new, serde_json::to_string(self)?)?;
        Ok(fs::rename(&new, file)?)
    }

    /// A stretch of seeds was fed.
    pub fn add(&mut self, first: u64, end: u64, seen: Seen) {
        self.ahead.insert(first, (end, seen));
        while let Some((end, seen)) = self.ahead.remove(&self.next) {
            self.next = end;
            self.seen.join(seen);
        }
    }

    /// The seed from which on graphs are to be fed.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// How many graphs were fed.
    pub fn graphs(&self) -> u64 {
        self.next - self.from
    }

    /// What was seen of them.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    fn seen(accepted: u64) -> Seen {
        let mut seen = Seen::default();
        seen.add(Ok(Counts {
            accepted,
            ..Counts::default()
        }));
        seen
    }

    /// Sabotage: count a stretch as soon as it was fed; a run that is broken off then loses the one
    /// before it.
    #[test]
    fn what_follows_a_gap_does_not_count_until_it_is_closed() {
        let mut progress = Progress::begin(1, 2);
        progress.add(51, 101, seen(10));
        assert_eq!((progress.graphs(), progress.next()), (0, 1));
        progress.add(1, 51, seen(1));
        assert_eq!((progress.graphs(), progress.next()), (100, 101));
        assert_eq!(progress.seen().counts.accepted, 11);
    }

    #[test]
    fn a_run_goes_on_where_the_last_one_ended_and_only_if_it_is_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("graphs.json");
        let mut progress = Progress::read(&file, 7, 2).unwrap();
        assert_eq!(progress, Progress::begin(7, 2));
        let mut failed = seen(3);
        failed.add(Err(anyhow!("seed 8 differs")));
        progress.add(7, 57, failed);
        progress.write(&file).unwrap();

        let read = Progress::read(&file, 7, 2).unwrap();
        assert_eq!(read, progress);
        assert_eq!((read.next(), read.seen().failed), (57, 1));
        Progress::read(&file, 8, 2).unwrap_err();
        Progress::read(&file, 7, 3).unwrap_err();
    }
}
