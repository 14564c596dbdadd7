//! Many runs together.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::{Report, faults::FAULTS};

/// Violating runs that are told in full.
const TOLD_MAX: usize = 3;
/// Runs from which on every fault must have occurred.
const RUNS_FOR_ALL_FAULTS: u64 = 200;

/// What many runs came to.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Runs.
    pub runs: u64,
    /// Runs in which something was found.
    pub violating: u64,
    lasted: Duration,
    counts: BTreeMap<String, u64>,
    told: Vec<Report>,
}

impl Totals {
    /// Adds a run.
    pub fn add(&mut self, report: Report) {
        self.runs += 1;
        self.lasted += report.lasted;
        for (name, count) in &report.counts {
            *self.counts.entry(name.clone()).or_default() += count;
        }
        if !report.violations.is_empty() {
            self.violating += 1;
            self.told.push(report);
            self.told.sort_unstable_by_key(|report| report.seed);
            self.told.truncate(TOLD_MAX);
        }
    }

    /// Faults that never occurred, in enough runs for all of them.
    pub fn faults_that_never_occurred(&self) -> Vec<&'static str> {
        let enough = self.runs >= RUNS_FOR_ALL_FAULTS;
        let never = |name: &&&str| enough && !self.counts.contains_key(**name);
        FAULTS.iter().filter(never).copied().collect()
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for report in &self.told {
            writeln!(f, "== seed {}", report.seed)?;
            for line in &report.journal {
                writeln!(f, "{line}")?;
            }
            for violation in &report.violations {
                let crate::Violation {
                    at_ms,
                    check,
                    detail,
                } = violation;
                writeln!(f, "seed {}, {at_ms} ms: {check}: {detail}", report.seed)?;
            }
        }
        for (name, count) in &self.counts {
            writeln!(f, "{name:36} {count:>12}")?;
        }
        let hours = self.lasted.as_secs_f64() / 3_600.0;
        writeln!(f, "{:36} {hours:>12.1}", "virtual hours")?;
        writeln!(f, "{:36} {:>12}", "seeds", self.runs)?;
        writeln!(f, "{:36} {:>12}", "violating seeds", self.violating)?;
        let never = self.faults_that_never_occurred();
        if !never.is_empty() {
            writeln!(f, "faults that never occurred: {}", never.join(", "))?;
        }
        Ok(())
    }
}
