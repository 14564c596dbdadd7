//! Counters: a claim that a fault is survived needs the count that says it occurred.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

/// Counts by name. Clones are the same counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    counts: Arc<Mutex<BTreeMap<Cow<'static, str>, u64>>>,
}

impl Tally {
    pub(crate) fn count(&self, name: impl Into<Cow<'static, str>>) {
        self.add(name, 1);
    }

    pub(crate) fn add(&self, name: impl Into<Cow<'static, str>>, by: u64) {
        *self.counts.lock().entry(name.into()).or_default() += by;
    }

    pub(crate) fn all(&self) -> BTreeMap<String, u64> {
        let counts = self.counts.lock();
        counts.iter().map(|(k, v)| (k.to_string(), *v)).collect()
    }
}
