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
    /// Reads them, of all addresses together; empty where there is no `/metrics`.
    pub(crate) async fn of(target: &Target) -> Self {
        let mut all = Self::default();
        for address in &target.addresses {
            let mut connection = Connection::to(*address);
            let answer = connection.call(Call::get("/metrics"), None).await;
            let Some(answer) = answer.ok().filter(|answer| answer.status == 200) else {
                continue;
            };
            for (name, sum) in Self::parse(&String::from_utf8_lossy(&answer.body)).0 {
                *all.0.entry(name).or_default() += sum;
            }
        }
        all
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
        for (name, grown) in self.growth(later, prefixes) {
            let each = grown / count_f64(messages.max(1));
            report.add(format!("{name} per message"), each, "");
        }
    }

    /// Adds how much each counter with one of the prefixes grew.
    pub(crate) fn report_growth(&self, later: &Self, prefixes: &[String], report: &mut Report) {
        for (name, grown) in self.growth(later, prefixes) {
            report.add(name, grown, "");
        }
    }

    fn growth<'a>(
        &'a self,
        later: &'a Self,
        prefixes: &'a [String],
    ) -> impl Iterator<Item = (&'a str, f64)> {
        let asked = |name: &str| {
            prefixes
                .iter()
                .any(|prefix| name.starts_with(prefix.as_str()))
        };
        let later = later.0.iter().filter(move |(name, _)| asked(name));
        later.map(|(name, after)| {
            let before = self.0.get(name).copied().unwrap_or(0.0);
            (name.as_str(), after - before)
        })
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
