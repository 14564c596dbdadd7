//! Running programs: what they print is shown and kept, and none runs for ever.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

use anyhow::{Context, Result, ensure};

/// The longest any one program may take, in seconds.
const SECONDS_MAX: u32 = 2_400;

/// What a program said and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) success: bool,
    /// Both streams, line by line, those of standard output first.
    pub(crate) lines: Vec<String>,
}

/// How long a program may take to end, in seconds.
const END_SECONDS_MAX: u32 = 20;

/// A program to run in `dir`, under a time limit that ends its children with it.
pub(crate) fn program(name: impl AsRef<OsStr>, dir: &Path) -> Command {
    program_ending_within(END_SECONDS_MAX, name, dir)
}

/// The same for one that has something to put in order at its end. The limit counts from any signal
/// that it is sent.
pub(crate) fn program_ending_within(
    end_seconds_max: u32,
    name: impl AsRef<OsStr>,
    dir: &Path,
) -> Command {
    let mut command = Command::new("timeout");
    // At a terminal it stays in the foreground, so that Ctrl-C reaches it.
    if io::stdin().is_terminal() {
        command.arg("--foreground");
    }
    command
        .arg(format!("--kill-after={end_seconds_max}"))
        .arg(SECONDS_MAX.to_string())
        .arg(name);
    command.current_dir(dir).stdin(Stdio::null());
    // What cargo told of this crate: build scripts of others look at these names, and would be run
    // again because of them, with all that depends on them.
    for (name, _) in std::env::vars_os() {
        let of_this_crate = |prefix| name.to_str().is_some_and(|name| name.starts_with(prefix));
        if ["CARGO_MANIFEST_", "CARGO_PKG_"]
            .into_iter()
            .any(of_this_crate)
        {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs `command`, passing on what it prints.
pub(crate) fn run(command: &mut Command) -> Result<Ran> {
    println!("   {}", shown(command));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot run {}", shown(command)))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (mut lines, errors) = thread::scope(|scope| {
        let errors = scope.spawn(|| stderr.map(follow).unwrap_or_default());
        let lines = stdout.map(follow).unwrap_or_default();
        (lines, errors.join().unwrap_or_default())
    });
    lines.extend(errors);
    let status: ExitStatus = child.wait()?;
    Ok(Ran {
        success: status.success(),
        lines,
    })
}

/// Runs `command`, which must succeed.
pub(crate) fn must(command: &mut Command) -> Result<Ran> {
    let ran = run(command)?;
    ensure!(ran.success, "{} failed", shown(command));
    Ok(ran)
}

/// True if `name --version`, or whatever `args` ask, succeeds.
pub(crate) fn answers(name: &str, args: &[&str]) -> bool {
    let mut command = Command::new(name);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Shows each line as it comes, and keeps it.
fn follow(stream: impl Read) -> Vec<String> {
    let mut kept = Vec::new();
    for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        let _ = writeln!(io::stdout(), "{line}");
        kept.push(line);
    }
    kept
}

/// The command line without the time limit.
fn shown(command: &Command) -> String {
    let words: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
    let limit = words
        .iter()
        .position(|word| *word == SECONDS_MAX.to_string());
    words.split_at(limit.map_or(0, |at| at + 1)).1.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_streams_are_kept_and_the_end_is_reported() {
        let mut command = program("sh", Path::new("/"));
        command.args(["-c", "echo out; echo err >&2; exit 3"]);
        assert_eq!(shown(&command), "sh -c echo out; echo err >&2; exit 3");
        let ran = run(&mut command).unwrap();
        assert!(!ran.success);
        assert_eq!(ran.lines, ["out", "err"]);
        assert!(must(&mut command).is_err());
    }

    #[test]
    fn a_program_that_is_not_there_does_not_answer() {
        assert!(answers("sh", &["-c", "true"]));
        assert!(!answers("sh", &["-c", "false"]));
        assert!(!answers("no-such-program", &[]));
    }
}
