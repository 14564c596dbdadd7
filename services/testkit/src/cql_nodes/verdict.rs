//! What a run showed, for people and for the gate.

use std::fmt;

use super::{cluster::Outage, ledger::Checked, watched::Tally};

/// What a run showed.
#[derive(Debug)]
pub struct Verdict {
    pub(super) outages: Vec<Outage>,
    pub(super) tally: Tally,
    pub(super) checked: Checked,
}

impl Verdict {
    /// Each thing that had to hold, and whether it did.
    fn held(&self) -> [(&'static str, bool); 6] {
        let Self {
            outages,
            tally,
            checked,
        } = self;
        let met = |outage: &Outage| outage.statements > 0;
        [
            ("nodes were killed", !outages.is_empty()),
            (
                "statements were answered while each was away",
                outages.iter().all(met),
            ),
            ("cases passed while a node was away", tally.passed_away > 0),
            ("no case failed unexplained", tally.failed.is_empty()),
            (
                "no error came without a fault",
                tally.unexplained.is_empty(),
            ),
            (
                "everything acknowledged is there",
                checked.wrong.is_empty() && checked.batches_away > 0,
            ),
        ]
    }

    /// Whether all of it held.
    pub fn passed(&self) -> bool {
        self.held().iter().all(|(_, held)| *held)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            outages,
            tally,
            checked,
        } = self;
        for Outage {
            node,
            away,
            statements,
        } in outages
        {
            let seconds = away.as_secs_f64();
            writeln!(
                f,
                "node {node}: killed with -9, away {seconds:.1} s, {statements} statements of the \
                 suite answered meanwhile"
            )?;
        }
        writeln!(
            f,
            "suite: {} cases passed, {} of them ended while a node was away; {} interrupted by an \
             explained error and run again; {} failed",
            tally.passed,
            tally.passed_away,
            tally.interrupted,
            tally.failed.len()
        )?;
        let statements: u64 = tally.statements.values().sum();
        writeln!(
            f,
            "suite: {statements} statements {:?}, {} errors: explained {:?}, lost to contention \
             {:?}, unexplained {:?}",
            tally.statements,
            tally.errors(),
            tally.explained,
            tally.contended,
            tally.unexplained
        )?;
        writeln!(
            f,
            "ledger: {} batches and {} rows acknowledged and read back, {} batches while a node was \
             away; {} errors retried, {} unknown outcomes, {} of them settled by the row",
            checked.batches,
            checked.rows,
            checked.batches_away,
            checked.retried,
            checked.unknown,
            checked.settled_by_row
        )?;
        for wrong in tally.failed.iter().chain(&checked.wrong) {
            writeln!(f, "WRONG: {wrong}")?;
        }
        let held = self.held();
        for (what, held) in &held {
            writeln!(f, "{} {what}", if *held { "ok  " } else { "FAIL" })?;
        }
        let passed = held.iter().filter(|(_, held)| *held).count();
        writeln!(f, "{passed} passed, {} failed", held.len() - passed)
    }
}
