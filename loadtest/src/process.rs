//! What a process has used, from `/proc`.

use std::{fs, time::Duration};

/// Linux counts processor time in hundredths of a second towards programs, on every architecture.
const TICK: Duration = Duration::from_millis(10);

/// A process cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// There is none of that id, or it is another user's.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is not as documented in proc(5).
    #[error("{path} is not understood")]
    Strange {
        /// The file.
        path: String,
    },
}

/// A process whose use is measured.
#[derive(Clone, Debug)]
pub struct Watched {
    directory: String,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time of all its threads, in user mode and in the kernel.
    pub cpu: Duration,
    /// Resident memory, in bytes.
    pub rss_bytes: u64,
    /// The most resident memory so far, in bytes.
    pub rss_peak_bytes: u64,
}

impl Watched {
    /// The process of this id.
    pub fn pid(pid: u32) -> Self {
        Self {
            directory: format!("/proc/{pid}"),
        }
    }

    /// This process.
    pub fn own() -> Self {
        Self {
            directory: "/proc/self".to_owned(),
        }
    }

    /// What it has used so far.
    pub fn usage(&self) -> Result<Usage, ProcessError> {
        let status = self.read("status")?;
        let kib = |key| field_kib(&status, key).unwrap_or(0) * 1_024;
        Ok(Usage {
            cpu: self.cpu()?,
            rss_bytes: kib("VmRSS:"),
            rss_peak_bytes: kib("VmHWM:"),
        })
    }

    fn cpu(&self) -> Result<Duration, ProcessError> {
        let strange = || ProcessError::Strange {
            path: format!("{}/stat", self.directory),
        };
        let ticks = cpu_ticks(&self.read("stat")?).ok_or_else(strange)?;
        Ok(TICK * u32::try_from(ticks).map_err(|_| strange())?)
    }

    fn read(&self, file: &str) -> Result<String, ProcessError> {
        let path = format!("{}/{file}", self.directory);
        fs::read_to_string(&path).map_err(|source| ProcessError::Unreadable { path, source })
    }
}

/// Fields 14 and 15 of `/proc/PID/stat`; field 2 is a name that may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let kernel: u64 = fields.next()?.parse().ok()?;
    Some(user + kernel)
}

fn field_kib(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_blanks_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 1 0 0 0 120 30 0 0 20 0 1 0 1 1 1";
        assert_eq!(cpu_ticks(stat), Some(150));
        assert_eq!(cpu_ticks("7 (a"), None);
    }

    #[test]
    fn this_process_has_memory() {
        let usage = Watched::own().usage().unwrap();
        assert!(usage.rss_bytes > 0 && usage.rss_peak_bytes >= usage.rss_bytes);
        assert!(Watched::pid(u32::MAX).usage().is_err());
    }
}
