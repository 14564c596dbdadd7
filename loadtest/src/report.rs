//! What a run found: a table for people, JSON for the rest.

use std::{fmt, fs, path::Path};

use anyhow::Context;
use serde::Serialize;

use crate::{Latency, Usage};

/// The figures of a run, in order.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    scenario: String,
    figures: Vec<Figure>,
    /// What went wrong, and how often.
    errors: Vec<(String, u64)>,
}

#[derive(Clone, Debug, Serialize)]
struct Figure {
    name: String,
    value: f64,
    unit: String,
}

impl Report {
    /// An empty one.
    pub fn of(scenario: impl Into<String>) -> Self {
        Self {
            scenario: scenario.into(),
            figures: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// Adds a figure.
    pub fn add(&mut self, name: impl Into<String>, value: f64, unit: &str) {
        self.figures.push(Figure {
            name: name.into(),
            value,
            unit: unit.to_owned(),
        });
    }

    /// Adds a count.
    #[expect(clippy::cast_precision_loss, reason = "no run counts to 2^52")]
    pub fn count(&mut self, name: impl Into<String>, value: u64, unit: &str) {
        self.add(name, value as f64, unit);
    }

    /// Adds p50, p90, p99 and the longest.
    pub fn latency(&mut self, name: &str, latency: &Latency) {
        for (label, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
            self.add(format!("{name} {label}"), latency.quantile_ms(share), "ms");
        }
        self.add(format!("{name} max"), latency.max_ms(), "ms");
    }

    /// Adds what a process used between two looks, for each of `messages`, and its memory at the
    /// second look.
    pub fn usage(&mut self, who: &str, before: &Usage, after: &Usage, seconds: f64, messages: u64) {
        let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
        self.add(format!("{who} CPU"), 100.0 * cpu / seconds, "% of one core");
        let each = 1_000.0 * cpu / count_f64(messages.max(1));
        self.add(format!("{who} CPU per message"), each, "ms");
        self.add(format!("{who} memory"), mib(after.rss_bytes), "MiB");
        self.add(
            format!("{who} memory peak"),
            mib(after.rss_peak_bytes),
            "MiB",
        );
    }

    /// Adds errors of one sort.
    pub fn error(&mut self, what: impl Into<String>, times: u64) {
        self.errors.push((what.into(), times));
    }

    /// Adds errors of one sort, if there were any.
    pub fn error_if(&mut self, what: impl Into<String>, times: u64) {
        if times > 0 {
            self.error(what, times);
        }
    }

    /// Adds another report's figures and errors, their names after a prefix.
    pub fn include(&mut self, prefix: &str, other: Self) {
        for figure in other.figures {
            self.add(
                format!("{prefix}{}", figure.name),
                figure.value,
                &figure.unit,
            );
        }
        for (what, times) in other.errors {
            self.error(format!("{prefix}{what}"), times);
        }
    }

    /// A figure by its name.
    pub fn figure(&self, name: &str) -> Option<f64> {
        let found = self.figures.iter().find(|figure| figure.name == name);
        found.map(|figure| figure.value)
    }

    /// Writes it as JSON.
    pub fn write_json(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
    }
}

/// A count as a number to divide by.
#[expect(clippy::cast_precision_loss, reason = "no run counts to 2^52")]
pub(crate) fn count_f64(count: u64) -> f64 {
    count as f64
}

fn mib(bytes: u64) -> f64 {
    count_f64(bytes) / f64::from(1 << 20)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.scenario)?;
        let width = self.figures.iter().map(|figure| figure.name.len()).max();
        let width = width.unwrap_or(0);
        for Figure { name, value, unit } in &self.figures {
            let digits = if value.fract() == 0.0 { 0 } else { 3 };
            writeln!(f, "  {name:width$}  {value:>12.digits$} {unit}")?;
        }
        if self.errors.is_empty() {
            return writeln!(f, "  no errors");
        }
        for (what, times) in &self.errors {
            writeln!(f, "  {times} x {what}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_in_the_table_and_in_the_file() {
        let mut report = Report::of("send");
        report.add("messages", 1_500.25, "/s");
        report.count("rooms", 20, "");
        report.error("429 M_LIMIT_EXCEEDED", 3);
        let table = report.to_string();
        assert!(
            table.contains("1500.250 /s") && table.contains("3 x 429"),
            "{table}"
        );
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.json");
        report.write_json(&path).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        assert_eq!(read["figures"][1]["value"], 20.0);
        assert_eq!(report.figure("rooms"), Some(20.0));
    }
}
