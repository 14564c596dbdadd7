//! What each contender told, and what was done to them.

use std::collections::BTreeMap;

use hanse_log::Position;
use hanse_runtime::{Clock, SystemClock};

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    OwnerFrozen,
    ReaderFrozen,
    OwnerKilled,
    ReaderKilled,
    RedisFlushed,
    RedisKilled,
    RedisStarted,
}

/// Everything that is known after a run.
#[derive(Default)]
pub(super) struct Evidence {
    pub(super) testimonies: Vec<Testimony>,
    /// When each fault occurred, Unix milliseconds.
    pub(super) faults: Vec<(Fault, i64)>,
}

impl Evidence {
    pub(super) fn fault(&mut self, fault: Fault) {
        self.faults.push((fault, now_ms()));
    }

    pub(super) fn count(&self, fault: Fault) -> usize {
        self.faults
            .iter()
            .filter(|(kind, _)| *kind == fault)
            .count()
    }

    pub(super) fn at(&self, fault: Fault) -> Option<i64> {
        let found = self.faults.iter().find(|(kind, _)| *kind == fault);
        found.map(|(_, at)| *at)
    }

    /// The sum of a counter over all processes, as each told it last.
    pub(super) fn counted(&self, name: &str) -> u64 {
        let each = self.testimonies.iter().map(|one| one.counted(name));
        each.sum()
    }
}

/// An acknowledged entry.
#[derive(Clone, Debug)]
pub(super) struct Ack {
    pub(super) key: String,
    pub(super) position: Position,
    pub(super) at_ms: i64,
}

/// What one contender told.
#[derive(Debug, Default)]
pub(super) struct Testimony {
    pub(super) takeovers: u64,
    pub(super) claims_refused: u64,
    pub(super) acks: Vec<Ack>,
    /// Where its follower began.
    pub(super) from: Option<i64>,
    /// Batches in the order in which its follower gave them, with the time.
    pub(super) saw: Vec<(i64, i64)>,
    /// First batches that were left when its follower came too late.
    pub(super) trimmed: Vec<i64>,
    counters: BTreeMap<String, u64>,
    lost_since: bool,
    pub(super) frozen: Vec<(i64, i64)>,
    pub(super) killed: bool,
}

impl Testimony {
    pub(super) fn take(&mut self, line: &str) {
        let mut words = line.split(' ');
        match words.next() {
            Some("serving") => {
                self.takeovers += 1;
                self.lost_since = false;
            }
            Some("refused") => self.claims_refused += 1,
            Some("from") => self.from = words.next().and_then(|word| word.parse().ok()),
            Some("trimmed") => {
                let first: Option<i64> = words.next().and_then(|word| word.parse().ok());
                self.trimmed.extend(first);
            }
            Some("ack") => self.acks.extend(ack(words)),
            Some("saw") => {
                let mut numbers = words.filter_map(|word| word.parse().ok());
                if let (Some(seq), Some(at)) = (numbers.next(), numbers.next()) {
                    self.saw.push((seq, at));
                }
            }
            Some("count") => self.count(words),
            _ => {}
        }
    }

    fn count<'a>(&mut self, words: impl Iterator<Item = &'a str>) {
        let fenced = self.counted("hanse_log_fenced_total");
        for (name, value) in words.filter_map(|word| word.rsplit_once('=')) {
            if let Ok(value) = value.parse() {
                self.counters.insert(name.to_owned(), value);
            }
        }
        self.lost_since |= self.counted("hanse_log_fenced_total") > fenced;
    }

    /// Whether it has the slot, as far as it told.
    pub(super) fn serves(&self) -> bool {
        self.takeovers > 0 && !self.lost_since
    }

    /// A counter over all its labels.
    pub(super) fn counted(&self, name: &str) -> u64 {
        let labelled = |key: &String| {
            let rest = key.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
        };
        let counters = self.counters.iter().filter(|(key, _)| labelled(key));
        counters.map(|(_, value)| value).sum()
    }

    /// Whether it was stopped at any time between these.
    pub(super) fn stood_still(&self, from_ms: i64, to_ms: i64) -> bool {
        let mut stops = self.frozen.iter();
        stops.any(|(stop, go)| *stop <= to_ms && from_ms <= *go)
    }
}

fn ack<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Ack> {
    let key = words.next()?.to_owned();
    let position = Position::from_packed(words.next()?.parse().ok()?);
    let at_ms = words.next()?.parse().ok()?;
    Some(Ack {
        key,
        position,
        at_ms,
    })
}

pub(super) fn now_ms() -> i64 {
    SystemClock::new().now_ms()
}
