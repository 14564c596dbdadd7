//! How long to wait before connecting again.

use std::{sync::Arc, time::Duration};

use hanse_runtime::Random;

/// The first wait is at most this long.
const FIRST_MAX: Duration = Duration::from_millis(50);
/// No wait is longer.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Doubles up to a cap; each wait is between half and all of its bound, so that a thousand
/// processes that lost the same server do not come back in step, and none spins.
#[derive(Debug)]
pub(crate) struct Backoff {
    random: Arc<dyn Random>,
    bound: Duration,
}

impl Backoff {
    pub(crate) fn new(random: Arc<dyn Random>) -> Self {
        Self {
            random,
            bound: FIRST_MAX,
        }
    }

    /// The next wait.
    pub(crate) fn next(&mut self) -> Duration {
        let half = self.bound / 2;
        self.bound = (self.bound * 2).min(WAIT_MAX);
        half + Duration::from_micros(self.random.below(half.as_micros() as u64))
    }

    /// What was connected has proved itself: the next wait is a short one.
    pub(crate) fn reset(&mut self) {
        self.bound = FIRST_MAX;
    }
}

#[cfg(test)]
mod tests {
    use hanse_runtime::SeededRandom;

    use super::*;

    #[test]
    fn waits_grow_to_the_cap_differ_by_seed_and_start_again_after_a_reset() {
        let waits = |seed| {
            let mut backoff = Backoff::new(Arc::new(SeededRandom::new(seed)));
            let waits: Vec<_> = (0..12).map(|_| backoff.next()).collect();
            backoff.reset();
            assert!(backoff.next() <= FIRST_MAX);
            waits
        };
        let (one, other) = (waits(1), waits(2));
        assert!(one[0] >= FIRST_MAX / 2 && one[0] <= FIRST_MAX);
        assert!(one[11] >= WAIT_MAX / 2 && one[11] <= WAIT_MAX);
        assert_ne!(one, other);
    }
}
