//! The yardstick: how fast the disk syncs when nobody else asks it to.

use std::{
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use tokio::time::Instant;

use crate::{Latency, Report, report::count_f64};

/// What to run.
#[derive(Clone, Debug)]
pub struct Fsync {
    /// Where the file is made; removed at the end.
    pub directory: PathBuf,
    /// Bytes appended before each sync.
    pub bytes: usize,
    /// How long.
    pub measured: Duration,
    /// The most bytes written, however fast the disk is.
    pub bytes_max: u64,
}

impl Fsync {
    /// Runs it, on the calling thread.
    pub fn run(&self) -> anyhow::Result<Report> {
        let path = self
            .directory
            .join(format!("fsync-{}.tmp", std::process::id()));
        let measured = self.append_to(&path);
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        measured
    }

    fn append_to(&self, path: &Path) -> anyhow::Result<Report> {
        let mut options = OpenOptions::new();
        let mut file = options
            .create_new(true)
            .append(true)
            .open(path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        let (block, mut latency) = (vec![0x5A; self.bytes], Latency::new()?);
        let start = Instant::now();
        while start.elapsed() < self.measured
            && latency.count() * (self.bytes as u64) < self.bytes_max
        {
            let one = Instant::now();
            file.write_all(&block)?;
            file.sync_data()?;
            latency.record(one.elapsed());
        }
        let seconds = start.elapsed().as_secs_f64();
        let mut report = Report::of(format!("fsync: appends of {} bytes", self.bytes));
        report.add("syncs", count_f64(latency.count()) / seconds, "/s");
        report.latency("sync", &latency);
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_and_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let report = Fsync {
            directory: directory.path().to_owned(),
            bytes: 1_024,
            measured: Duration::from_secs(5),
            bytes_max: 10 * 1_024,
        };
        assert!(report.run().unwrap().figure("syncs").unwrap() > 0.0);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
