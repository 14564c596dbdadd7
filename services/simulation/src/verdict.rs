//! What a run found.

use std::sync::Arc;

use parking_lot::Mutex;

/// Violations kept for one run; the first is the one to look at.
const VIOLATIONS_MAX: usize = 20;

/// A breach of what the log promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When, in virtual milliseconds.
    pub at_ms: u64,
    /// Which promise.
    pub check: &'static str,
    /// What was seen.
    pub detail: String,
}

/// Clones are of the same run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    found: Arc<Mutex<Vec<Violation>>>,
}

impl Verdict {
    pub(crate) fn add(&self, at_ms: u64, check: &'static str, detail: String) {
        let mut found = self.found.lock();
        if found.len() < VIOLATIONS_MAX {
            found.push(Violation {
                at_ms,
                check,
                detail,
            });
        }
    }

    /// Nothing was found so far.
    pub(crate) fn is_clean(&self) -> bool {
        self.found.lock().is_empty()
    }

    pub(crate) fn all(&self) -> Vec<Violation> {
        self.found.lock().clone()
    }
}
