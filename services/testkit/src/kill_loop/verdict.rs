//! What was seen, and whether it is what was promised.

use std::{collections::HashSet, fmt, time::Duration};

use hanse_checkers::{
    Attempt, Outcome, Page, Timelines, Violation, acknowledged_once, in_order, no_event_again,
    nothing_twice, only_what_was_asked, transactions_stable, union_is_timeline,
};
use hanse_loadtest::User;

use super::{
    reader::{self, Reader},
    sender::Tally,
    timeline::whole_room,
};

/// Findings of one check that are shown.
const SHOWN_MAX: usize = 5;

/// What is counted while the loop runs.
#[derive(Debug, Default)]
pub(super) struct Counts {
    starts: Vec<Duration>,
    in_flight: Vec<usize>,
    tally: Tally,
}

impl Counts {
    pub(super) fn started(&mut self, took: Duration) {
        self.starts.push(took);
    }

    pub(super) fn killed(&mut self, in_flight: usize) {
        self.in_flight.push(in_flight);
    }

    pub(super) fn add(&mut self, tally: &Tally) {
        self.tally.repeated_acknowledged += tally.repeated_acknowledged;
        self.tally.repeated_unknown += tally.repeated_unknown;
        self.tally.repeats_failed += tally.repeats_failed;
        self.tally.refused.extend(tally.refused.iter().cloned());
    }
}

/// All that was written down.
pub(super) struct Evidence {
    attempts: Vec<Attempt>,
    backwards: Timelines,
    forwards: Timelines,
    reader: Reader,
    initial: Page,
}

impl Evidence {
    pub(super) async fn collect(
        user: &mut User,
        rooms: &[String],
        reader: Reader,
        attempts: Vec<Attempt>,
    ) -> anyhow::Result<Self> {
        let (mut backwards, mut forwards) = (Timelines::new(), Timelines::new());
        for room in rooms {
            backwards.insert(room.clone(), whole_room(user, room, true).await?);
            forwards.insert(room.clone(), whole_room(user, room, false).await?);
        }
        Ok(Self {
            initial: reader::initial_sync(user).await?,
            attempts,
            backwards,
            forwards,
            reader,
        })
    }

    /// How many transactions of this sort there are, and how many of them are in a room.
    fn transactions(&self, sort: impl Fn(&[&Attempt]) -> bool) -> (usize, usize) {
        let events = self.backwards.values().flatten();
        let held: HashSet<&str> = events.filter_map(|event| event.mark.as_deref()).collect();
        let mut by_mark = std::collections::HashMap::<&str, Vec<&Attempt>>::new();
        for attempt in &self.attempts {
            by_mark.entry(&attempt.mark).or_default().push(attempt);
        }
        let of_sort = by_mark.into_iter().filter(|(_, attempts)| sort(attempts));
        let marks: Vec<&str> = of_sort.map(|(mark, _)| mark).collect();
        (
            marks.len(),
            marks.iter().filter(|mark| held.contains(**mark)).count(),
        )
    }
}

/// A promise, and what was found against it.
#[derive(Debug)]
struct Check {
    name: &'static str,
    against: Vec<String>,
}

/// What the loop found.
#[derive(Debug)]
pub struct Verdict {
    counts: Vec<String>,
    checks: Vec<Check>,
}

impl Verdict {
    pub(super) fn of(evidence: &Evidence, counts: &Counts, rounds: u32) -> Self {
        Self {
            checks: checks(evidence, counts, rounds),
            counts: shown(evidence, counts),
        }
    }

    /// Whether nothing was found.
    pub fn passed(&self) -> bool {
        self.failed() == 0
    }

    fn failed(&self) -> usize {
        let failed = self.checks.iter().filter(|check| !check.against.is_empty());
        failed.count()
    }
}

fn checks(evidence: &Evidence, counts: &Counts, rounds: u32) -> Vec<Check> {
    let Evidence {
        attempts,
        backwards,
        reader,
        initial,
        ..
    } = evidence;
    let initial = std::slice::from_ref(initial);
    let sorted = [
        (
            "everything acknowledged is there",
            acknowledged_once(attempts, backwards),
        ),
        ("nothing is there twice", nothing_twice(backwards)),
        (
            "nothing is there that was not sent",
            only_what_was_asked(attempts, backwards),
        ),
        (
            "each sender's messages are in order",
            in_order(attempts, backwards),
        ),
        (
            "a transaction keeps its event id",
            transactions_stable(attempts),
        ),
        (
            "no sync gave an event again",
            no_event_again(&reader.name, &reader.pages),
        ),
        (
            "the syncs over all kills are the timelines",
            union_is_timeline(&reader.name, &reader.pages, backwards),
        ),
        (
            "an initial sync ends the timelines",
            union_is_timeline("an initial sync", initial, backwards),
        ),
    ];
    let found = |(name, against): (_, Vec<Violation>)| Check {
        name,
        against: against.iter().map(Violation::to_string).collect(),
    };
    let mut checks: Vec<Check> = sorted.map(found).into();
    checks.push(Check {
        name: "both directions of /messages agree",
        against: disagreements(evidence),
    });
    checks.push(Check {
        name: "every repeat was acknowledged",
        against: unanswered(&counts.tally),
    });
    checks.push(Check {
        name: "every kill cut requests off",
        against: idle_kills(counts, rounds),
    });
    checks
}

fn disagreements(evidence: &Evidence) -> Vec<String> {
    let differs = |room: &&String| evidence.backwards.get(*room) != evidence.forwards.get(*room);
    let rooms = evidence.backwards.keys().filter(differs);
    rooms.map(|room| format!("not in {room}")).collect()
}

fn unanswered(tally: &Tally) -> Vec<String> {
    let failed = (tally.repeats_failed > 0).then(|| format!("{} were not", tally.repeats_failed));
    failed.into_iter().collect()
}

fn idle_kills(counts: &Counts, rounds: u32) -> Vec<String> {
    let idle = counts.in_flight.iter().filter(|in_flight| **in_flight == 0);
    let idle = idle.count() + (rounds as usize).abs_diff(counts.in_flight.len());
    (idle > 0)
        .then(|| format!("{idle} did not"))
        .into_iter()
        .collect()
}

fn shown(evidence: &Evidence, counts: &Counts) -> Vec<String> {
    let acknowledged = |attempts: &[&Attempt]| {
        let mut outcomes = attempts.iter().map(|attempt| &attempt.outcome);
        outcomes.any(|outcome| matches!(outcome, Outcome::Acknowledged(_)))
    };
    let first_unknown = |attempts: &[&Attempt]| {
        let first = attempts.first().map(|attempt| &attempt.outcome);
        first == Some(&Outcome::Unknown)
    };
    let (sent, sent_there) = evidence.transactions(acknowledged);
    let (cut, cut_there) = evidence.transactions(first_unknown);
    let (open, open_there) =
        evidence.transactions(|attempts| first_unknown(attempts) && !acknowledged(attempts));
    let in_flight: usize = counts.in_flight.iter().sum();
    let least = counts.in_flight.iter().min().copied().unwrap_or(0);
    let slowest = counts.starts.iter().max().map_or(0, Duration::as_millis);
    let Tally {
        repeated_acknowledged,
        repeated_unknown,
        refused,
        ..
    } = &counts.tally;
    let (syncs, gaps) = (evidence.reader.pages.len(), evidence.reader.gaps);
    vec![
        format!(
            "{} kills, {in_flight} sends in flight at them, at least {least} at each",
            counts.in_flight.len()
        ),
        format!(
            "{} starts, the slowest in {slowest} ms",
            counts.starts.len()
        ),
        format!("{sent} messages acknowledged, {sent_there} of them there"),
        format!("{cut} cut off without an answer, {cut_there} of them there at the end"),
        format!("{open} of those never sent again, {open_there} of them landed all the same"),
        format!(
            "{repeated_unknown} transactions without an answer repeated after a restart, and answered"
        ),
        format!(
            "{repeated_acknowledged} acknowledged transactions repeated after a restart, and answered"
        ),
        format!("{syncs} syncs by one reader over all kills, {gaps} gaps filled"),
        format!(
            "{} other answers than 200 {:?}",
            refused.len(),
            refused.first()
        ),
    ]
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for count in &self.counts {
            writeln!(f, "{count}")?;
        }
        for check in &self.checks {
            let result = if check.against.is_empty() {
                "ok"
            } else {
                "FAILED"
            };
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
