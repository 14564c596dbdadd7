//! The slow sweep: finds what no event told.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use hanse_log::Slot;
use hanse_runtime::Random;

use super::place::Place;

/// How often one row (two, where slots are elsewhere that should be here) is looked at.
const PERIOD: Duration = Duration::from_secs(2);

/// Where the sweep stands: one round over all slots, and a quicker one over those that should be
/// here and are not.
#[derive(Debug)]
pub(super) struct Sweep {
    at: Duration,
    all: Option<Slot>,
    missing: Option<Slot>,
}

impl Sweep {
    pub(super) fn new(random: &dyn Random, from: Duration) -> Self {
        let mut sweep = Self {
            at: from,
            all: None,
            missing: None,
        };
        sweep.wait(random, from);
        sweep
    }

    pub(super) fn at(&self) -> Duration {
        self.at
    }

    pub(super) fn wait(&mut self, random: &dyn Random, now: Duration) {
        let spread = PERIOD.as_micros() as u64 / 4;
        self.at = now + PERIOD + Duration::from_micros(random.below(spread));
    }

    /// The next to be looked at.
    pub(super) fn next(
        &mut self,
        places: &BTreeMap<Slot, Place>,
        mine: &BTreeSet<Slot>,
    ) -> BTreeSet<Slot> {
        self.all = after(self.all, places.keys());
        let is_here = |slot: &Slot| places.get(slot).is_some_and(Place::is_served);
        let missing: BTreeSet<Slot> = mine.iter().filter(|slot| !is_here(slot)).copied().collect();
        self.missing = after(self.missing, missing.iter());
        self.all.into_iter().chain(self.missing).collect()
    }
}

/// The first above, or the first of all.
fn after<'a>(last: Option<Slot>, slots: impl Iterator<Item = &'a Slot> + Clone) -> Option<Slot> {
    let above = |slot: &&Slot| last.is_none_or(|last| **slot > last);
    let mut all = slots.clone();
    slots
        .copied()
        .find(|slot| above(&slot))
        .or_else(|| all.next().copied())
}
