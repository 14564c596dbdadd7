//! The binary as the gate meets it: the journal, the count at the end, the exit code.
#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::process::Command;

fn simulate(args: &[&str]) -> (Option<i32>, Vec<String>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_simulate"));
    let output = command.args(args).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines.lines().map(str::to_owned).collect();
    (output.status.code(), lines)
}

fn last(lines: &[String]) -> &str {
    lines.last().map_or("", String::as_str)
}

/// Sabotage: draw anything from elsewhere than the seed.
#[test]
fn a_seed_has_one_journal() {
    let (code, lines) = simulate(&["--seed", "3"]);
    assert_eq!((code, last(&lines)), (Some(0), "1 passed, 0 failed"));
    assert!(lines.len() > 1_000, "{} lines", lines.len());
    let other = simulate(&["--seed", "3"]);
    assert_eq!((code, lines), other);
}

/// Sabotage: count a seed with violations as passed, or end with success all the same.
#[test]
fn what_is_found_is_a_failure() {
    let args = ["--seed", "1", "--sabotage", "AppendWithoutNext"];
    let (code, lines) = simulate(&args);
    assert_eq!((code, last(&lines)), (Some(1), "0 passed, 1 failed"));
    let (code, _) = simulate(&["--sabotage", "NoSuch"]);
    assert_eq!(code, Some(2));
}
