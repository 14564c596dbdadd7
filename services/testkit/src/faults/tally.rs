//! What clients counted.

use std::collections::BTreeMap;

use hanse_loadtest::{Refused, http::HttpError};

/// Counts of one client, or of all.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Requests made again after a failure, with the same transaction id.
    pub(super) repeated: u64,
    /// Messages sent again although they had their 200.
    pub(super) repeated_acknowledged: u64,
    /// Messages that never got their 200.
    pub(super) undelivered: u64,
    /// Requests that were not answered 200, by what came instead.
    pub(super) failures: BTreeMap<String, u64>,
}

impl Tally {
    pub(super) fn failed(&mut self, refused: &Refused) {
        let sort = match refused {
            Refused::Http(HttpError::Connect { .. }) => "not connected".to_owned(),
            Refused::Http(HttpError::Broken(_)) => "connection broken".to_owned(),
            Refused::Http(HttpError::TimedOut(_)) => "no answer in time".to_owned(),
            other => other.to_string(),
        };
        *self.failures.entry(sort).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.repeated += other.repeated;
        self.repeated_acknowledged += other.repeated_acknowledged;
        self.undelivered += other.undelivered;
        for (sort, count) in &other.failures {
            *self.failures.entry(sort.clone()).or_default() += count;
        }
    }

    pub(super) fn failures(&self) -> u64 {
        self.failures.values().sum()
    }
}
