//! The fuzz targets of hanse-event: built with coverage, and run two at a time.
//!
//! cargo-fuzz is not needed: libFuzzer is a library, and the compiler's coverage pass answers to stable
//! flags.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use clap::builder::PossibleValuesParser;

use crate::command::{must, program};
use crate::counts::Counts;
use crate::setup;

/// How long a target is run in the gate.
pub(crate) const SECONDS: u32 = 60;
/// Targets that run at once.
const AT_ONCE: usize = 2;
/// A target that reaches less was built without coverage, and its search is blind.
const COVERED_MIN: u64 = 500;
/// How much of a failed target's log is shown.
const LINES_SHOWN: usize = 60;
/// Coverage as libFuzzer reads it: counters on the edges, and what comparisons compare with.
const COVERAGE: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// A target, with what libFuzzer should know of it.
struct Target {
    name: &'static str,
    /// Longest input, in bytes.
    bytes_max: u32,
    dictionary: Option<&'static str>,
}

const TARGETS: [Target; 4] = [
    Target {
        name: "canonical_json",
        bytes_max: 4_096,
        dictionary: Some("json.txt"),
    },
    Target {
        name: "pdu",
        bytes_max: 4_096,
        dictionary: Some("json.txt"),
    },
    Target {
        name: "auth_rules",
        bytes_max: 512,
        dictionary: None,
    },
    Target {
        name: "state_resolution",
        bytes_max: 512,
        dictionary: None,
    },
];

/// How a target went.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    runs: u64,
    /// Edges that the seeds reach, and that all inputs do.
    covered: Option<(u64, u64)>,
    /// The input that was kept of a failure.
    kept: Option<String>,
}

/// For the command line.
pub(crate) fn names() -> PossibleValuesParser {
    TARGETS.map(|target| target.name).into()
}

/// The workspace of the targets.
pub(crate) fn workspace(root: &Path) -> PathBuf {
    root.join("services/event/fuzz")
}

/// Runs these targets, or all.
pub(crate) fn run(root: &Path, seconds: u32, only: &[String]) -> Result<Counts> {
    let built = build(root)?;
    let wanted = |target: &&Target| only.is_empty() || only.iter().any(|name| name == target.name);
    let targets: Vec<&Target> = TARGETS.iter().filter(wanted).collect();
    let mut counts = Counts::default();
    for together in targets.chunks(AT_ONCE) {
        let passed = thread::scope(|scope| {
            let built = &built;
            let run = |target| scope.spawn(move || search(root, built, target, seconds));
            let running: Vec<_> = together.iter().copied().map(run).collect();
            let ended = running.into_iter().map(thread::ScopedJoinHandle::join);
            let ended = ended.map(|run| run.map_err(|_| anyhow!("a thread panicked"))?);
            ended.collect::<Result<Vec<bool>>>()
        })?;
        for passed in passed {
            counts += Counts::one(passed);
        }
    }
    Ok(counts)
}

/// The folder of the binaries. Naming the target keeps the flags away from build scripts.
fn build(root: &Path) -> Result<PathBuf> {
    let (host, directory) = (host()?, directory(root).join("build"));
    let mut cargo = program("cargo", &workspace(root));
    cargo.args(["build", "--release", "--locked", "--bins"]);
    cargo.args(["--features", "libfuzzer", "--target", &host]);
    cargo.arg("--target-dir").arg(&directory);
    cargo.env("RUSTFLAGS", COVERAGE);
    must(&mut cargo)?;
    Ok(directory.join(host).join("release"))
}

/// The compiler's name for this machine.
fn host() -> Result<String> {
    let told = Command::new("rustc").arg("-vV").output();
    let told = String::from_utf8(told.context("cannot run rustc")?.stdout)?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not tell its host")?.to_owned())
}

fn directory(root: &Path) -> PathBuf {
    setup::target(root).join("fuzz")
}

/// Runs one target. True: nothing was found, by a search that could have.
fn search(root: &Path, built: &Path, target: &Target, seconds: u32) -> Result<bool> {
    let name = target.name;
    let log = directory(root).join(format!("{name}.log"));
    let corpus = directory(root).join("corpus").join(name);
    let kept = directory(root).join("found").join(name);
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&kept)?;
    let file = File::create(&log)?;
    let mut command = Command::new(built.join(name));
    command.arg(&corpus);
    // What random bytes draw is as good a beginning as any seed.
    command.args(Some(workspace(root).join("seeds").join(name)).filter(|seeds| seeds.exists()));
    command.arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-max_len={}", target.bytes_max));
    command.arg(format!("-artifact_prefix={}/", kept.display()));
    let dictionary = target
        .dictionary
        .map(|file| workspace(root).join("dictionaries").join(file));
    command.args(dictionary.map(|path| format!("-dict={}", path.display())));
    command.args(["-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1"]);
    command
        .current_dir(root)
        .stdout(file.try_clone()?)
        .stderr(file);
    println!("   {name} for {seconds} s; its log is {}", log.display());
    let status = command
        .status()
        .with_context(|| format!("cannot run {name}"))?;
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let found = Found::read(&text);
    println!("   {name}: {}", found.told());
    if let Err(why) = found.judged(status.success()) {
        let lines: Vec<&str> = text.lines().collect();
        let shown = lines.len().saturating_sub(LINES_SHOWN);
        lines
            .iter()
            .skip(shown)
            .for_each(|line| println!("   | {line}"));
        println!("   {name}: {why}");
        return Ok(false);
    }
    Ok(true)
}

impl Found {
    /// Reads the log of libFuzzer.
    fn read(log: &str) -> Self {
        let number = |line: &str, name: &str| {
            let (_, rest) = line.split_once(name)?;
            rest.split_whitespace().next()?.parse().ok()
        };
        let covered = |line: &str| number(line, " cov: ");
        let begun = log
            .lines()
            .filter(|line| line.contains("INITED"))
            .find_map(covered);
        let ended = log.lines().rev().find_map(covered);
        let runs = log
            .lines()
            .find_map(|line| number(line, "stat::number_of_executed_units: "));
        let kept = log
            .lines()
            .find_map(|line| line.split_once("Test unit written to "));
        Self {
            runs: runs.unwrap_or(0),
            covered: begun.zip(ended),
            kept: kept.map(|(_, path)| path.to_owned()),
        }
    }

    fn told(&self) -> String {
        let (begun, ended) = self.covered.unwrap_or_default();
        format!(
            "{} runs, {begun} edges covered at first, {ended} at the end",
            self.runs
        )
    }

    fn judged(&self, success: bool) -> Result<()> {
        if let Some(path) = &self.kept {
            return Err(anyhow!("a property does not hold of {path}"));
        }
        ensure!(success, "it failed and kept no input");
        let (_, ended) = self.covered.unwrap_or_default();
        ensure!(ended >= COVERED_MIN, "it was built without coverage");
        ensure!(self.runs > 0, "it ran nothing");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: &str = "INFO: seed corpus: files: 15\n\
        #16\tINITED cov: 700 ft: 900 corp: 15/2000b exec/s: 0 rss: 40Mb\n\
        #99\tNEW    cov: 812 ft: 1000 corp: 16/2100b lim: 4096 exec/s: 0 rss: 40Mb\n\
        Done 1234 runs in 61 second(s)\n\
        stat::number_of_executed_units: 1234\n";

    /// Sabotage: judge by the exit code alone; a blind search then passes.
    #[test]
    fn a_search_that_saw_passes_and_a_blind_one_does_not() {
        let found = Found::read(CALM);
        let expected = Found {
            runs: 1_234,
            covered: Some((700, 812)),
            kept: None,
        };
        assert_eq!(found, expected);
        found.judged(true).unwrap();
        found.judged(false).unwrap_err();
        let blind = Found::read(&CALM.replace("cov: ", "cov: 0 was "));
        blind.judged(true).unwrap_err();
        Found::read("").judged(true).unwrap_err();
    }

    #[test]
    fn what_was_found_is_named() {
        let log = format!("{CALM}artifact_prefix='x/'; Test unit written to x/crash-1a\n");
        let why = Found::read(&log).judged(false).unwrap_err().to_string();
        assert!(why.ends_with("x/crash-1a"), "{why}");
    }
}
