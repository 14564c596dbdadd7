//! What happened, in order, with the virtual time: the run of a seed, byte for byte.

use std::{collections::VecDeque, fmt, sync::Arc};

use parking_lot::Mutex;
use tokio::time::Instant;
use xxhash_rust::xxh3::Xxh3;

use crate::executor::ProcessId;

/// Lines kept for the report of a violation.
const TAIL_LINES: usize = 400;

/// How much of a journal is kept; its digest is of all of it in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The last lines.
    Tail,
    /// Every line, to find where two runs part.
    All,
}

/// Two runs are the same if these are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// XXH3 (128 bits) of every line and every turn of the scheduler.
    pub hash: u128,
    /// How many lines there were.
    pub lines: u64,
}

/// Clones are the same journal.
#[derive(Clone)]
pub(crate) struct Journal {
    pages: Arc<Mutex<Pages>>,
}

struct Pages {
    started: Option<Instant>,
    hash: Box<Xxh3>,
    lines: u64,
    keep: Keep,
    kept: VecDeque<String>,
}

impl Journal {
    pub(crate) fn new(keep: Keep) -> Self {
        let pages = Pages {
            started: None,
            hash: Box::new(Xxh3::new()),
            lines: 0,
            keep,
            kept: VecDeque::new(),
        };
        Self {
            pages: Arc::new(Mutex::new(pages)),
        }
    }

    /// Virtual milliseconds since the first call.
    pub(crate) fn now_ms(&self) -> u64 {
        let now = Instant::now();
        let started = *self.pages.lock().started.get_or_insert(now);
        now.duration_since(started).as_millis() as u64
    }

    /// Writes a line.
    pub(crate) fn note(&self, who: ProcessId, what: fmt::Arguments<'_>) {
        let line = format!("{:>7} {who} {what}", self.now_ms());
        let mut pages = self.pages.lock();
        pages.hash.update(line.as_bytes());
        pages.hash.update(b"\n");
        pages.lines += 1;
        if pages.keep == Keep::Tail && pages.kept.len() == TAIL_LINES {
            pages.kept.pop_front();
        }
        pages.kept.push_back(line);
    }

    /// A turn of the scheduler: part of the digest, not a line.
    pub(crate) fn turn(&self, task: u64) {
        self.pages.lock().hash.update(&task.to_le_bytes());
    }

    pub(crate) fn digest(&self) -> Digest {
        let pages = self.pages.lock();
        Digest {
            hash: pages.hash.digest128(),
            lines: pages.lines,
        }
    }

    pub(crate) fn kept(&self) -> Vec<String> {
        self.pages.lock().kept.iter().cloned().collect()
    }
}
