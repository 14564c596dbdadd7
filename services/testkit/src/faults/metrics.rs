//! What processes count themselves.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use hanse_loadtest::http::{Call, Connection};

/// How long a process may take to tell.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Counters and gauges by name, each the sum over its labels.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// What the process at this address says; nothing if it does not answer.
    pub(super) async fn of(address: SocketAddr) -> Option<Self> {
        let call = Call::get("/metrics").within(ANSWER_WITHIN);
        let answer = Connection::to(address).call(call, None).await.ok()?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        Some(Self::read(&text))
    }

    fn read(text: &str) -> Self {
        let mut values = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else {
                continue;
            };
            let name = series.split('{').next().unwrap_or(series);
            *values.entry(name.to_owned()).or_default() += value.parse().unwrap_or(0.0);
        }
        Self(values)
    }

    pub(super) fn value(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default() as u64
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (name, value) in &other.0 {
            *self.0.entry(name.clone()).or_default() += value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_sum_over_its_labels() {
        let text = "# TYPE a counter\na{x=\"1 2\"} 3\na{x=\"2\"} 4\nab 5\n";
        let metrics = Metrics::read(text);
        assert_eq!(metrics.value("a"), 7);
        assert_eq!(metrics.value("ab"), 5);
        assert_eq!(metrics.value("b"), 0);
    }
}
