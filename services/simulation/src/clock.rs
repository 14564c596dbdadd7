//! The clock of one process: the run's virtual time, plus how wrong this process is about it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use hanse_runtime::Clock;
use tokio::time::Instant;

/// The wall time at which every run starts, in microseconds since the Unix epoch.
pub(crate) const EPOCH_US: i64 = 1_700_000_000_000_000;

/// Clones are the same clock.
#[derive(Clone, Debug)]
pub(crate) struct SimClock {
    started: Instant,
    skew_us: Arc<AtomicI64>,
}

impl SimClock {
    /// A clock that is right.
    pub(crate) fn starting_at(started: Instant) -> Self {
        Self {
            started,
            skew_us: Arc::default(),
        }
    }

    /// Puts the wall time off by so much from now on; it may go back.
    pub(crate) fn set_skew_ms(&self, skew_ms: i64) {
        self.skew_us.store(skew_ms * 1_000, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now_us(&self) -> i64 {
        let skew = self.skew_us.load(Ordering::Relaxed);
        EPOCH_US + self.monotonic().as_micros() as i64 + skew
    }

    fn monotonic(&self) -> Duration {
        Instant::now().duration_since(self.started)
    }
}
