//! Reading how many tests passed from what each runner prints.

use std::ops::AddAssign;

/// How a layer went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// Neither: ignored or skipped by the runner, or known to fail and listed as such.
    pub(crate) skipped: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl Counts {
    /// A check that is one test.
    pub(crate) fn one(passed: bool) -> Self {
        Self {
            passed: u64::from(passed),
            failed: u64::from(!passed),
            skipped: 0,
        }
    }

    /// The count of a runner, held against how it ended: one that crashed, or that ran nothing, has
    /// failed whatever it printed.
    pub(crate) fn honest(mut self, success: bool) -> Self {
        let nothing = self.passed == 0 && self.failed == 0;
        if self.failed == 0 && (!success || nothing) {
            self.failed = 1;
        }
        self
    }

    /// Prints the count, which is to be the last line. True if nothing failed.
    pub(crate) fn account(self) -> bool {
        println!("{} passed, {} failed", self.passed, self.failed);
        self.failed == 0 && self.passed > 0
    }
}

/// A runner of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runner {
    CargoTest,
    Nextest,
    Pytest,
    /// A program of ours, whose last line is `N passed, N failed`.
    Plain,
}

impl Runner {
    /// Sums the lines in which this runner reports.
    pub(crate) fn count(self, output: &[String]) -> Counts {
        let mut sum = Counts::default();
        let lines = output.iter().map(|line| plain(line));
        match self {
            Self::CargoTest => lines
                .filter(|l| l.starts_with("test result: "))
                .for_each(|line| {
                    sum += read(&line);
                }),
            Self::Nextest => lines
                .filter(|l| l.trim_start().starts_with("Summary ["))
                .for_each(|line| sum += read(&line)),
            Self::Plain => lines
                .filter(|l| l.ends_with(" failed"))
                .for_each(|line| sum = read(&line)),
            Self::Pytest => lines.filter(|l| is_pytest_summary(l)).for_each(|line| {
                sum = read(&line);
            }),
        }
        sum
    }
}

/// Without terminal colours.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(letter) = rest.next() {
        if letter == '\u{1b}' {
            rest.by_ref().find(char::is_ascii_alphabetic);
        } else {
            text.push(letter);
        }
    }
    text
}

/// `== 3 failed, 2 passed in 0.12s ==`, with or without the rules.
fn is_pytest_summary(line: &str) -> bool {
    let text = line.trim_matches(['=', ' ']);
    text.starts_with(|first: char| first.is_ascii_digit()) && text.contains(" in ")
}

/// Reads pairs of a number and a word. An expected failure is no pass; one that passes is a failure.
fn read(line: &str) -> Counts {
    let mut counts = Counts::default();
    let words: Vec<&str> = line
        .split([' ', ',', ';', '=', '(', ')'])
        .filter(|w| !w.is_empty())
        .collect();
    for pair in words.windows(2) {
        let [number, word] = pair else { continue };
        let Ok(number) = number.parse::<u64>() else {
            continue;
        };
        match *word {
            "passed" => counts.passed += number,
            "failed" | "error" | "errors" | "timed" | "xpassed" => counts.failed += number,
            "ignored" | "skipped" | "xfailed" => counts.skipped += number,
            _ => {}
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(runner: Runner, output: &str, passed: u64, failed: u64, skipped: u64) {
        let lines: Vec<String> = output.lines().map(str::to_owned).collect();
        assert_eq!(
            runner.count(&lines),
            Counts {
                passed,
                failed,
                skipped
            },
            "{output}"
        );
    }

    #[test]
    fn cargo_test_is_summed_over_its_binaries() {
        let output = "running 3 tests\ntest a ... ok\n\
            test result: ok. 19 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.20s\n\
            test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 4 filtered out; finished in 0.20s";
        check(Runner::CargoTest, output, 21, 3, 1);
        check(Runner::CargoTest, "error: could not compile `x`", 0, 0, 0);
    }

    #[test]
    fn nextest_reports_once() {
        let output = "     Summary [  12.345s] 132 tests run: 130 passed (1 slow), 1 failed, 1 timed out, 2 skipped";
        check(Runner::Nextest, output, 130, 2, 2);
    }

    #[test]
    fn pytest_is_read_with_and_without_rules_and_colours() {
        check(
            Runner::Pytest,
            "========= 132 passed, 1 skipped in 137.02s (0:02:17) =========",
            132,
            0,
            1,
        );
        check(
            Runner::Pytest,
            "2 failed, 130 passed, 3 xfailed, 1 error in 9.1s",
            130,
            3,
            3,
        );
        check(
            Runner::Pytest,
            "\u{1b}[32m== \u{1b}[1m4 passed\u{1b}[0m in 1.00s ==\u{1b}[0m",
            4,
            0,
            0,
        );
        check(
            Runner::Pytest,
            "blackbox on hanse: 5 passed, 0 failed\n5 passed in 1.00s",
            5,
            0,
            0,
        );
        check(Runner::Pytest, "no tests ran in 0.01s", 0, 0, 0);
    }

    #[test]
    fn a_crash_or_an_empty_run_is_a_failure() {
        let passed = Counts {
            passed: 5,
            ..Counts::default()
        };
        assert_eq!(passed.honest(true), passed);
        assert_eq!(
            passed.honest(false),
            Counts {
                failed: 1,
                ..passed
            }
        );
        assert_eq!(Counts::default().honest(true).failed, 1);
        let failed = Counts {
            failed: 2,
            ..passed
        };
        assert_eq!(failed.honest(false), failed);
    }
}
