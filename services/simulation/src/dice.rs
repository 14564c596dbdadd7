//! Seeded draws. Each part of a run has dice of its own, so that one more draw in one place does not
//! change what all the others do.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use hanse_runtime::{Random, SeededRandom};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A stream of draws. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Dice {
    random: Arc<SeededRandom>,
}

impl Dice {
    /// The stream of this name in the run of this seed.
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        Self {
            random: Arc::new(SeededRandom::new(xxh3_64_with_seed(name.as_bytes(), seed))),
        }
    }

    /// The same stream as a source of randomness for the code under test.
    pub(crate) fn random(&self) -> Arc<dyn Random> {
        Arc::clone(&self.random) as _
    }

    /// 0 if `bound` is 0.
    pub(crate) fn below(&self, bound: usize) -> usize {
        self.random.below(bound as u64) as usize
    }

    pub(crate) fn between(&self, range: RangeInclusive<u64>) -> u64 {
        let (from, to) = range.into_inner();
        from + self.random.below(to.saturating_sub(from) + 1)
    }

    /// True in so many of a thousand cases.
    pub(crate) fn chance(&self, per_mille: u64) -> bool {
        per_mille > 0 && self.random.below(1_000) < per_mille
    }

    /// All equally likely.
    pub(crate) fn ms(&self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.between(range))
    }

    /// Each power of two equally likely: mostly short, sometimes as long as can be.
    pub(crate) fn long_tailed_ms(&self, range: RangeInclusive<u64>) -> Duration {
        let (from, to) = range.into_inner();
        let from = from.max(1);
        let doublings = (to / from).max(1).ilog2();
        let low = from << self.between(0..=u64::from(doublings));
        self.ms(low..=(low * 2).min(to).max(low))
    }

    pub(crate) fn pick<'a, T>(&self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_in_their_ranges_and_reach_both_ends() {
        let dice = Dice::new(1, "test");
        let drawn: Vec<u64> = (0..2_000).map(|_| dice.between(3..=5)).collect();
        assert!(drawn.iter().all(|value| (3..=5).contains(value)));
        assert!([3, 4, 5].iter().all(|value| drawn.contains(value)));
        let tailed: Vec<_> = (0..2_000)
            .map(|_| dice.long_tailed_ms(10..=60_000).as_millis())
            .collect();
        assert!(tailed.iter().all(|ms| (10..=60_000).contains(ms)));
        assert!(tailed.iter().any(|ms| *ms < 40));
        assert!(tailed.iter().any(|ms| *ms > 30_000));
        assert!(!dice.chance(0) && dice.chance(1_000));
        assert_eq!(dice.pick::<u8>(&[]), None);
    }

    #[test]
    fn streams_differ_by_name_and_seed() {
        let draw = |seed, name| Dice::new(seed, name).between(0..=u64::MAX - 1);
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
    }
}
