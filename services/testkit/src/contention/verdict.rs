//! What was found: one history, and everybody saw it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use hanse_log::Position;

use super::evidence::{Ack, Evidence, Fault, Testimony};

/// Findings of one check that are shown.
const SHOWN_MAX: usize = 5;

/// The checks with their findings, and the counts that prove what happened.
#[derive(Debug)]
pub struct Verdict {
    checks: Vec<(&'static str, Vec<String>)>,
    counts: Vec<(&'static str, String)>,
}

impl Verdict {
    /// Whether every check passed.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|(_, findings)| findings.is_empty())
    }

    pub(super) fn of(evidence: &Evidence, archive: &[(Position, String)]) -> Self {
        let tail = archive.last().map_or(0, |(position, _)| position.seq());
        let checks = vec![
            (
                "every position has one batch, without a gap",
                dense(archive),
            ),
            ("every key is in the history once", once(archive)),
            (
                "what was acknowledged is where it was acknowledged",
                kept(evidence, archive),
            ),
            ("each writer's entries are in its order", in_order(archive)),
            (
                "every reader saw every batch once, in order",
                followed(evidence),
            ),
            (
                "every reader that lives arrived at the tail",
                arrived(evidence, tail),
            ),
            ("the faults occurred", occurred(evidence)),
        ];
        Self {
            checks,
            counts: counts(evidence, archive, tail),
        }
    }
}

fn dense(archive: &[(Position, String)]) -> Vec<String> {
    let seqs: BTreeSet<i64> = archive.iter().map(|(position, _)| position.seq()).collect();
    let expected = 1..;
    let gaps = expected
        .zip(&seqs)
        .filter(|(expected, seq)| expected != *seq);
    let mut found: Vec<_> = gaps
        .take(1)
        .map(|(expected, _)| format!("batch {expected} is missing"))
        .collect();
    for pair in archive.windows(2) {
        if let [(before, _), (after, _)] = pair
            && before.seq() == after.seq()
            && before.index() + 1 != after.index()
        {
            found.push(format!("{before} is followed by {after}"));
        }
    }
    found
}

fn once(archive: &[(Position, String)]) -> Vec<String> {
    let mut seen = BTreeMap::new();
    let twice = archive.iter().filter_map(|(position, key)| {
        let before = seen.insert(key, position)?;
        Some(format!("{key} at {before} and at {position}"))
    });
    twice.collect()
}

fn all_acks(evidence: &Evidence) -> impl Iterator<Item = &Ack> {
    evidence.testimonies.iter().flat_map(|one| &one.acks)
}

fn kept(evidence: &Evidence, archive: &[(Position, String)]) -> Vec<String> {
    let at: BTreeMap<Position, &str> = archive
        .iter()
        .map(|(position, key)| (*position, key.as_str()))
        .collect();
    let lost = all_acks(evidence).filter(|ack| at.get(&ack.position) != Some(&ack.key.as_str()));
    lost.map(|ack| format!("{} is not at {}", ack.key, ack.position))
        .collect()
}

fn in_order(archive: &[(Position, String)]) -> Vec<String> {
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    let mut found = Vec::new();
    for (position, key) in archive {
        let Some((writer, number)) = key.rsplit_once('.') else {
            continue;
        };
        let number = number.parse().unwrap_or_default();
        if let Some(before) = last.insert(writer, number)
            && before >= number
        {
            found.push(format!("{key} at {position} comes after {before}"));
        }
    }
    found
}

fn followed(evidence: &Evidence) -> Vec<String> {
    evidence.testimonies.iter().flat_map(gaps).collect()
}

/// A reader that was told that it came too late may go on further down.
fn gaps(one: &Testimony) -> Vec<String> {
    let mut before = one.from.unwrap_or_default();
    let mut found = Vec::new();
    for (seq, _) in &one.saw {
        if *seq != before + 1 && !one.trimmed.contains(seq) {
            found.push(format!("{before} was followed by {seq}"));
        }
        before = *seq;
    }
    found
}

fn arrived(evidence: &Evidence, tail: i64) -> Vec<String> {
    let living = evidence.testimonies.iter().filter(|one| !one.killed);
    // Killed at the end, while it wrote: the tail of the log is then ahead of what it was told.
    let shown = all_acks(evidence)
        .map(|ack| ack.at_ms)
        .max()
        .unwrap_or_default()
        - 3_000;
    let settled = all_acks(evidence).filter(|ack| ack.at_ms < shown);
    let settled = settled
        .map(|ack| ack.position.seq())
        .max()
        .unwrap_or_default();
    let short = living.filter_map(|one| {
        let last = one.saw.last().map_or(one.from?, |(seq, _)| *seq);
        (last < settled).then(|| format!("{last} of {settled} (the tail is {tail})"))
    });
    short.collect()
}

fn occurred(evidence: &Evidence) -> Vec<String> {
    let mut missing = Vec::new();
    for fault in [
        Fault::OwnerFrozen,
        Fault::OwnerKilled,
        Fault::RedisFlushed,
        Fault::RedisKilled,
    ] {
        if evidence.count(fault) == 0 {
            missing.push(format!("{fault:?} did not occur"));
        }
    }
    if evidence.counted("hanse_log_fenced_total") == 0 {
        missing.push("no append was refused".to_owned());
    }
    missing
}

fn counts(
    evidence: &Evidence,
    archive: &[(Position, String)],
    tail: i64,
) -> Vec<(&'static str, String)> {
    let takeovers: u64 = evidence.testimonies.iter().map(|one| one.takeovers).sum();
    let refused: u64 = evidence
        .testimonies
        .iter()
        .map(|one| one.claims_refused)
        .sum();
    let faults: BTreeSet<Fault> = evidence.faults.iter().map(|(fault, _)| *fault).collect();
    let faults = faults
        .iter()
        .map(|fault| format!("{fault:?} {}", evidence.count(*fault)));
    let counted = |name: &str| evidence.counted(name).to_string();
    vec![
        ("processes", evidence.testimonies.len().to_string()),
        ("faults", faults.collect::<Vec<_>>().join(", ")),
        ("takeovers", takeovers.to_string()),
        ("claims refused", refused.to_string()),
        ("appends refused", counted("hanse_log_fenced_total")),
        ("writes in doubt", counted("hanse_log_unknown_total")),
        (
            "slots given up in doubt",
            counted("hanse_log_given_up_total"),
        ),
        ("batches replayed", counted("hanse_log_replayed_total")),
        ("segments trimmed", counted("hanse_log_trimmed_total")),
        ("gaps found by readers", counted("hanse_bus_gaps_total")),
        ("batches", tail.to_string()),
        ("entries", archive.len().to_string()),
        ("acknowledged", all_acks(evidence).count().to_string()),
        ("delay, all", delays(evidence, i64::MIN, i64::MAX)),
        ("delay, Redis away", redis_away(evidence)),
    ]
}

fn redis_away(evidence: &Evidence) -> String {
    match (
        evidence.at(Fault::RedisKilled),
        evidence.at(Fault::RedisStarted),
    ) {
        (Some(from), Some(to)) => delays(evidence, from, to),
        _ => "not shown".to_owned(),
    }
}

/// From the first acknowledgement of a batch to each other process that follows, in milliseconds;
/// without processes that were stopped meanwhile.
fn delays(evidence: &Evidence, from_ms: i64, to_ms: i64) -> String {
    let mut shown: BTreeMap<i64, i64> = BTreeMap::new();
    for ack in all_acks(evidence) {
        let first = shown.entry(ack.position.seq()).or_insert(ack.at_ms);
        *first = ack.at_ms.min(*first);
    }
    let mut delays: Vec<i64> = Vec::new();
    for one in &evidence.testimonies {
        let seen = one
            .saw
            .iter()
            .filter_map(|(seq, at)| Some((*shown.get(seq)?, *at)));
        let within = seen.filter(|(shown, at)| {
            (from_ms..to_ms).contains(shown) && !one.stood_still(*shown, *at)
        });
        delays.extend(within.map(|(shown, at)| (at - shown).max(0)));
    }
    delays.sort_unstable();
    let part = |share: usize| delays.get(delays.len().saturating_sub(1) * share / 1_000);
    match (part(500), part(990), delays.last()) {
        (Some(p50), Some(p99), Some(max)) => {
            format!(
                "{} seen; p50 {p50} ms, p99 {p99} ms, longest {max} ms",
                delays.len()
            )
        }
        _ => "not shown".to_owned(),
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in &self.counts {
            writeln!(f, "{what}: {count}")?;
        }
        for (check, findings) in &self.checks {
            let word = if findings.is_empty() { "ok" } else { "FAILED" };
            writeln!(f, "{word}: {check}")?;
            for finding in findings.iter().take(SHOWN_MAX) {
                writeln!(f, "    {finding}")?;
            }
            if findings.len() > SHOWN_MAX {
                writeln!(f, "    and {} more", findings.len() - SHOWN_MAX)?;
            }
        }
        let failed = self.checks.iter().filter(|(_, found)| !found.is_empty());
        let failed = failed.count();
        let passed = self.checks.len() - failed;
        writeln!(f, "{passed} passed, {failed} failed")
    }
}
