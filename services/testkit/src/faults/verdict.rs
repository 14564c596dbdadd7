//! What was seen, and whether it is what was promised.

use std::{collections::BTreeMap, fmt, time::Duration};

use hanse_checkers::{
    Attempt, Page, Timelines, Violation, acknowledged_once, in_order, no_event_again,
    nothing_twice, only_what_was_asked, transactions_stable, union_is_timeline,
};
use tokio::time::Instant;

use super::{
    deeds::{Deed, FENCED, LAPSED, TAKEOVERS, UNKNOWN},
    encryption::Encrypted,
    metrics::Metrics,
    schedule::{Fault, Role},
    sender::Wait,
    tally::Tally,
    under_way::InFlight,
};

/// Findings of one check that are shown.
const SHOWN_MAX: usize = 5;
/// From so many killed persisters on it is no chance that none was killed amid a claim.
const HITS_FROM: usize = 5;
/// A killed owner's slots serve again within its lease and 2 s.
const KILL_GOAL: Duration = Duration::from_secs(8);
/// A drained owner's slots serve again within this.
const DRAIN_GOAL: Duration = Duration::from_millis(500);

/// All that was written down.
pub(super) struct Evidence {
    pub(super) planned: Vec<Fault>,
    pub(super) deeds: Vec<Deed>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) waits: Vec<Wait>,
    pub(super) sends: Tally,
    pub(super) syncs: Tally,
    pub(super) readers: Vec<(String, Vec<Page>)>,
    pub(super) gaps: u64,
    pub(super) timelines: Timelines,
    pub(super) metrics: Metrics,
    /// Of keys and messages to devices.
    pub(super) encrypted: Encrypted,
    /// Whether everything went in order, so that no request may fail.
    pub(super) orderly: bool,
    /// Whether stalls may be no longer than their goals.
    pub(super) judges_stalls: bool,
}

/// A promise, and what was found against it.
#[derive(Debug)]
struct Check {
    name: &'static str,
    against: Vec<String>,
}

/// What the faults did.
#[derive(Debug)]
pub struct Verdict {
    counts: Vec<String>,
    checks: Vec<Check>,
}

impl Verdict {
    /// Whether nothing was found.
    pub fn passed(&self) -> bool {
        self.failed() == 0
    }

    fn failed(&self) -> usize {
        let failed = self.checks.iter().filter(|check| !check.against.is_empty());
        failed.count()
    }

    pub(super) fn of(evidence: &Evidence) -> Self {
        Self {
            checks: evidence.checks(),
            counts: evidence.counts(),
        }
    }
}

impl Evidence {
    fn checks(&self) -> Vec<Check> {
        let (attempts, timelines) = (&self.attempts, &self.timelines);
        let mut twice = nothing_twice(timelines);
        twice.extend(only_what_was_asked(attempts, timelines));
        let mut checks = vec![
            ("the faults occurred", self.missing_faults()),
            (
                "nothing acknowledged is lost",
                shown(&acknowledged_once(attempts, timelines)),
            ),
            ("nothing is there twice, or unasked for", shown(&twice)),
            (
                "each sender's messages are in order",
                shown(&in_order(attempts, timelines)),
            ),
            (
                "a transaction keeps its event id",
                shown(&transactions_stable(attempts)),
            ),
            ("every message got its 200", self.undelivered()),
            ("each user's syncs are the timelines", self.syncs_against()),
        ];
        checks.extend(self.encrypted.checks());
        if self.orderly {
            checks.push(("no request failed", self.failures()));
        }
        if self.judges_stalls {
            let kills = "kills stall nobody for more than 8 s";
            let drains = "drained owners stall nobody for more than 500 ms";
            checks.push((kills, self.late_kills()));
            checks.push((drains, self.late_drains()));
        }
        let checks = checks.into_iter();
        checks
            .map(|(name, against)| Check { name, against })
            .collect()
    }

    fn missing_faults(&self) -> Vec<String> {
        let mut against = Vec::new();
        if self.deeds.len() != self.planned.len() {
            against.push(format!(
                "{} of {} faults",
                self.deeds.len(),
                self.planned.len()
            ));
        }
        let frozen = self.deeds.iter().filter(|deed| deed.fault == Fault::Freeze);
        for deed in frozen.filter(|deed| deed.late.fenced == 0) {
            against.push(format!(
                "the store refused {} nothing after its freeze",
                deed.target
            ));
        }
        if self.metrics.value(TAKEOVERS) == 0 {
            against.push("no slot was taken over".to_owned());
        }
        let killed = |deed: &&Deed| deed.fault == Fault::Kill(Role::Persister);
        let hits = self.deeds.iter().filter(killed).count() >= HITS_FROM;
        if hits && self.encrypted.unknown_claims() == 0 {
            against.push("no kill fell into a claim of keys".to_owned());
        }
        if hits && self.encrypted.repeated_messages() == 0 {
            against.push("no kill fell into a message to devices".to_owned());
        }
        against
    }

    fn undelivered(&self) -> Vec<String> {
        let count = self.sends.undelivered;
        let against = (count > 0).then(|| format!("{count} did not"));
        against.into_iter().collect()
    }

    fn failures(&self) -> Vec<String> {
        let told = |what: &'static str, tally: &Tally| {
            let failures = tally.failures.clone().into_iter();
            failures.map(move |(sort, count)| format!("{count} {what}: {sort}"))
        };
        let sends = told("sends", &self.sends);
        let encrypted = self.encrypted.failed().into_iter();
        let encrypted = encrypted.flat_map(|(what, tally)| told(what, tally));
        let syncs = told("syncs", &self.syncs);
        sends.chain(syncs).chain(encrypted).collect()
    }

    fn syncs_against(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (reader, pages) in &self.readers {
            found.extend(no_event_again(reader, pages));
            found.extend(union_is_timeline(reader, pages, &self.timelines));
        }
        shown(&found)
    }

    fn late_kills(&self) -> Vec<String> {
        let kills = |deed: &&Deed| matches!(deed.fault, Fault::Kill(_));
        self.late(kills, KILL_GOAL)
    }

    fn late_drains(&self) -> Vec<String> {
        let drains = |deed: &&Deed| matches!(deed.fault, Fault::DrainPersister | Fault::Roll(..));
        self.late(drains, DRAIN_GOAL)
    }

    fn late(&self, sort: impl Fn(&&Deed) -> bool, goal: Duration) -> Vec<String> {
        let late = self.deeds.iter().filter(sort).filter_map(|deed| {
            let stall = self.stall(deed);
            let line = || format!("{} ({}): {} ms", deed.fault, deed.target, stall.as_millis());
            (stall > goal).then(line)
        });
        late.collect()
    }

    /// The longest that any message waited for its 200 in the time of a fault.
    fn stall(&self, deed: &Deed) -> Duration {
        let during = self.waits.iter().filter(|wait| overlaps(wait, deed));
        let waited = during.map(|wait| wait.ended - wait.began.max(deed.began));
        waited.max().unwrap_or_default()
    }

    /// The longest that any message waited while nothing happened.
    fn calm(&self) -> Duration {
        let calm = |wait: &&Wait| !self.deeds.iter().any(|deed| overlaps(wait, deed));
        let waits = self.waits.iter().filter(calm);
        let waited = waits.map(|wait| wait.ended - wait.began);
        waited.max().unwrap_or_default()
    }

    fn counts(&self) -> Vec<String> {
        let mut counts = vec![
            format!(
                "{} messages acknowledged, {} of them asked for again after it",
                self.waits.len() as u64 - self.sends.repeated_acknowledged,
                self.sends.repeated_acknowledged
            ),
            format!(
                "{} sends failed and were repeated {} times: {:?}",
                self.sends.failures(),
                self.sends.repeated,
                self.sends.failures
            ),
            format!(
                "{} syncs by {} users, {} gaps filled; {} cut: {:?}",
                self.readers
                    .iter()
                    .map(|(_, pages)| pages.len())
                    .sum::<usize>(),
                self.readers.len(),
                self.gaps,
                self.syncs.failures(),
                self.syncs.failures
            ),
            format!(
                "counted by the processes: {} takeovers, {} appends refused by the store, {} not \
                 tried without a lease, {} outcomes unknown at first",
                self.metrics.value(TAKEOVERS),
                self.metrics.value(FENCED),
                self.metrics.value(LAPSED),
                self.metrics.value(UNKNOWN)
            ),
        ];
        counts.extend(self.encrypted.counts());
        counts.extend(self.deeds.iter().filter_map(late_appends));
        counts.push(format!("{:22} times  longest stall      goal", "fault"));
        counts.extend(self.by_fault());
        counts.push(format!(
            "{:22} {:>5} {:>11} ms",
            "none",
            "",
            self.calm().as_millis()
        ));
        counts
    }

    fn by_fault(&self) -> Vec<String> {
        let mut by_fault = BTreeMap::<String, Vec<&Deed>>::new();
        for deed in &self.deeds {
            by_fault
                .entry(deed.fault.to_string())
                .or_default()
                .push(deed);
        }
        let lines = by_fault.into_iter().map(|(fault, deeds)| {
            let stalls = deeds.iter().map(|deed| self.stall(deed));
            let longest = stalls.max().unwrap_or_default().as_millis();
            let mut in_flight = InFlight::default();
            for deed in &deeds {
                in_flight += deed.in_flight;
            }
            let goal = deeds.first().and_then(|deed| goal(deed.fault));
            let goal =
                goal.map_or_else(|| "-".to_owned(), |goal| format!("{} ms", goal.as_millis()));
            let drains = deeds.iter().filter_map(|deed| deed.drain).max();
            let drains = drains.map(|drain| format!(", ended within {} ms", drain.as_millis()));
            let drains = drains.unwrap_or_default();
            let times = deeds.len();
            format!("{fault:22} {times:>5} {longest:>11} ms  {goal:>8}  {in_flight}{drains}")
        });
        lines.collect()
    }
}

fn late_appends(deed: &Deed) -> Option<String> {
    let late = deed.late;
    (deed.fault == Fault::Freeze).then(|| {
        format!(
            "{} frozen with words on the way on {} connections: {} late appends refused by the \
             store, {} not tried",
            deed.target, late.held, late.fenced, late.lapsed
        )
    })
}

fn goal(fault: Fault) -> Option<Duration> {
    match fault {
        Fault::Kill(_) => Some(KILL_GOAL),
        Fault::DrainPersister | Fault::Roll(..) => Some(DRAIN_GOAL),
        _ => None,
    }
}

fn overlaps(wait: &Wait, deed: &Deed) -> bool {
    let within = |from: Instant, until: Instant| from < deed.ended && until > deed.began;
    within(wait.began, wait.ended)
}

fn shown(found: &[Violation]) -> Vec<String> {
    found.iter().map(Violation::to_string).collect()
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for count in &self.counts {
            writeln!(f, "{count}")?;
        }
        for check in &self.checks {
            let passed = check.against.is_empty();
            let result = if passed { "ok" } else { "FAILED" };
            writeln!(f, "{result:6} {}", check.name)?;
            for found in check.against.iter().take(SHOWN_MAX) {
                writeln!(f, "         {found}")?;
            }
            if check.against.len() > SHOWN_MAX {
                writeln!(f, "         and {} more", check.against.len() - SHOWN_MAX)?;
            }
        }
        let failed = self.failed();
        writeln!(f, "{} passed, {failed} failed", self.checks.len() - failed)
    }
}
