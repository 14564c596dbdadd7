//! Latencies, and what is read off them.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The longest latency that is told apart from longer ones, in microseconds.
const LATENCY_US_MAX: u64 = 120_000_000;

/// A histogram of latencies with three significant digits, from a microsecond to two minutes.
#[derive(Clone, Debug)]
pub struct Latency(Histogram<u64>);

impl Latency {
    /// An empty one.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self(Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)?))
    }

    /// Counts one.
    pub fn record(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(us);
    }

    /// Counts another's, too.
    pub fn merge(&mut self, other: &Self) -> anyhow::Result<()> {
        Ok(self.0.add(&other.0)?)
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency in ms which this share (0 to 1) of all does not exceed.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        micros_to_ms(self.0.value_at_quantile(share))
    }

    /// The longest, in ms.
    pub fn max_ms(&self) -> f64 {
        micros_to_ms(self.0.max())
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "two minutes are 27 bits of microseconds"
)]
fn micros_to_ms(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_all_that_was_recorded() {
        let mut all = Latency::new().unwrap();
        for ms in 1..=50 {
            all.record(Duration::from_millis(ms));
        }
        let mut more = Latency::new().unwrap();
        for ms in 51..=100 {
            more.record(Duration::from_millis(ms));
        }
        all.merge(&more).unwrap();
        assert_eq!(all.count(), 100);
        assert!((all.quantile_ms(0.5) - 50.0).abs() < 0.1);
        assert!((all.quantile_ms(0.99) - 99.0).abs() < 0.1);
        all.record(Duration::from_hours(1));
        assert!(all.max_ms() >= 119_000.0);
    }
}
