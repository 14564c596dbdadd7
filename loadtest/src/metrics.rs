//! Counters that the server exposes in Prometheus' text format, if it does.

use std::collections::BTreeMap;

use crate::{
    Report, Target,
    http::{Call, Connection},
    report::count_f64,
};

/// The sums of all series by their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Counters(BTreeMap<String, f64>);

impl Counters {
    /// Reads them; empty where there is no `/metrics`.
    pub(crate) async fn of(target: &Target) -> Self {
        let mut connection = Connection::to(target.address);
        match connection.call(Call::get("/metrics"), None).await {
            Ok(answer) if answer.status == 200 => {
                Self::parse(&String::from_utf8_lossy(&answer.body))
            }
            _ => Self::default(),
        }
    }

    fn parse(text: &str) -> Self {
        let mut sums = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else {
                continue;
            };
            let name = series.split('{').next().unwrap_or(series);
            if let Ok(value) = value.parse::<f64>() {
                *sums.entry(name.to_owned()).or_default() += value;
            }
        }
        Self(sums)
    }

    /// Adds how much each counter with one of the prefixes grew for each of `messages`.
    pub(crate) fn report(
        &self,
        later: &Self,
        prefixes: &[String],
        messages: u64,
        report: &mut Report,
    ) {
        let asked = |name: &str| {
            prefixes
                .iter()
                .any(|prefix| name.starts_with(prefix.as_str()))
        };
        for (name, after) in later.0.iter().filter(|(name, _)| asked(name)) {
            let before = self.0.get(name).copied().unwrap_or(0.0);
            let each = (after - before) / count_f64(messages.max(1));
            report.add(format!("{name} per message"), each, "");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_summed_over_series_and_divided_by_messages() {
        let text = |a: u32, b: u32| {
            format!("# TYPE reads counter\nreads{{table=\"a b\"}} {a}\nreads{{table=\"c\"}} {b}\n")
        };
        let (before, after) = (
            Counters::parse(&text(10, 0)),
            Counters::parse(&text(40, 10)),
        );
        let mut report = Report::of("x");
        before.report(&after, &["re".to_owned()], 20, &mut report);
        assert_eq!(report.figure("reads per message"), Some(2.0));
    }
}
