//! Time as a value that is handed in.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

/// Where the time comes from. Held as `Arc<dyn Clock>`.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Wall time in microseconds since the Unix epoch. It may jump, also backwards.
    fn now_us(&self) -> i64;

    /// Time since an arbitrary start; never goes back. For durations, deadlines and leases.
    fn monotonic(&self) -> Duration;

    /// Wall time in milliseconds since the Unix epoch, as Matrix counts it.
    fn now_ms(&self) -> i64 {
        self.now_us().div_euclid(1_000)
    }
}

/// The clock of the operating system.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that everybody else uses"
    )]
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
        }
    }

    /// The same, shared.
    pub fn shared() -> Arc<dyn Clock> {
        Arc::new(Self::new())
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that everybody else uses"
    )]
    fn now_us(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => micros(since),
            Err(before) => -micros(before.duration()),
        }
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// A clock that moves only when it is told to. Clones share the time.
#[derive(Clone, Debug)]
pub struct ManualClock {
    state: Arc<Mutex<ManualState>>,
}

#[derive(Debug)]
struct ManualState {
    now_us: i64,
    monotonic: Duration,
}

impl ManualClock {
    /// A clock at `now_ms` milliseconds since the Unix epoch, its monotonic time at zero.
    pub fn at_ms(now_ms: i64) -> Self {
        let state = ManualState {
            now_us: now_ms * 1_000,
            monotonic: Duration::ZERO,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Lets `by` pass, on both scales.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state.lock();
        state.now_us += micros(by);
        state.monotonic += by;
    }

    /// Sets the wall time alone, as an administrator or a skewed clock would.
    pub fn set_wall_us(&self, now_us: i64) {
        self.state.lock().now_us = now_us;
    }
}

impl Clock for ManualClock {
    fn now_us(&self) -> i64 {
        self.state.lock().now_us
    }

    fn monotonic(&self) -> Duration {
        self.state.lock().monotonic
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manual_time_moves_only_on_demand() {
        let clock = ManualClock::at_ms(1_000);
        assert_eq!((clock.now_ms(), clock.now_us()), (1_000, 1_000_000));

        clock.clone().advance(Duration::from_micros(1_500));
        assert_eq!((clock.now_ms(), clock.now_us()), (1_001, 1_001_500));
        assert_eq!(clock.monotonic(), Duration::from_micros(1_500));

        clock.set_wall_us(-1);
        assert_eq!(clock.now_ms(), -1, "a time before 1970 rounds down");
        assert_eq!(clock.monotonic(), Duration::from_micros(1_500));
    }

    #[test]
    fn system_time_is_of_this_century_and_monotonic_time_grows() {
        let clock = SystemClock::shared();
        assert!(clock.now_ms() > 1_700_000_000_000);
        let before = clock.monotonic();
        assert!(clock.monotonic() >= before);
    }
}
