//! A local cluster: for `cargo xtask cluster`, and for suites that test one.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{Context, Result, ensure};

use crate::command::program_ending_within;
use crate::setup::{self, Need};

/// What the cluster's program prints when every process is ready.
const READY: &str = "everything is ready";
/// A test run is one address that asks for thousands of accounts.
const FOR_TESTS: [(&str, &str); 2] = [
    ("HANSE_RATE_LIMITS__ENABLED", "false"),
    ("HANSE_REGISTRATION__MODE", "open"),
];
/// How long it may take to drain six processes and to stop the CQL server.
const END_SECONDS_MAX: u32 = 120;
/// Enough that each persister has many.
const SLOTS_FOR_TESTS: &str = "32";

/// Returns only if it cannot begin: from then on Ctrl-C is for the other program, which stops what
/// it started.
pub(crate) fn run(
    root: &Path,
    name: &str,
    processes: &[String],
    slots: Option<u32>,
) -> Result<bool> {
    for need in [Need::Java, Need::Redis] {
        need.prepare(root)?;
    }
    let mut cluster = Command::new(setup::testkit(root, "cluster")?);
    cluster
        .args(places(root, name))
        .args(processes.iter().flat_map(|roles| ["--process", roles]))
        .args(slots.map(|slots| format!("--slots={slots}")))
        .env("HANSE_BIN", setup::binary_path(root));
    Err(cluster.exec()).context("cannot run the cluster")
}

/// Runs `work` with the base URLs of the APIs, separated by commas, of a fresh cluster: two each of
/// api, persister and sync. Stops it by its process id, and fails if that did not end in order.
pub(crate) fn with_apis<T>(
    root: &Path,
    name: &str,
    work: impl FnOnce(&str) -> Result<T>,
) -> Result<T> {
    let _ = fs::remove_dir_all(directory(root, name));
    let mut cluster =
        program_ending_within(END_SECONDS_MAX, setup::testkit(root, "cluster")?, root);
    cluster
        .args(places(root, name))
        .args(["--slots", SLOTS_FOR_TESTS])
        .envs(FOR_TESTS)
        .env("HANSE_BIN", setup::binary_path(root))
        .stdout(Stdio::piped());
    let mut cluster = cluster.spawn().context("cannot run the cluster")?;
    let done = apis(&mut cluster).and_then(|apis| work(&apis));
    let stopped = stop(cluster);
    let done = done?;
    stopped.map(|()| done)
}

fn directory(root: &Path, name: &str) -> PathBuf {
    setup::target(root).join("cluster").join(name)
}

fn places(root: &Path, name: &str) -> [PathBuf; 4] {
    let (data, scripts) = (directory(root, name), root.join("deploy/cql"));
    ["--directory".into(), data, "--scripts".into(), scripts]
}

/// Waits until all are ready; where the APIs listen.
fn apis(cluster: &mut Child) -> Result<String> {
    let output = cluster.stdout.take().context("its output is piped")?;
    let mut lines = BufReader::new(output).lines().map_while(Result::ok);
    let mut apis = Vec::new();
    let is_ready = lines.by_ref().any(|line| {
        println!("   {line}");
        apis.extend(api_address(&line));
        line.starts_with(READY)
    });
    // Whatever it says later must not fill the pipe.
    let rest = thread::Builder::new().name("cluster-output".to_owned());
    rest.spawn(move || lines.for_each(drop))?;
    ensure!(is_ready, "the cluster does not come up");
    ensure!(apis.len() > 1, "the cluster says of {apis:?} only");
    Ok(apis.join(","))
}

/// The address in a line such as `1-api  http://127.0.0.1:8008  others: …`.
fn api_address(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let is_api = words.next()?.split('-').any(|role| role == "api");
    let address = words.next().filter(|word| word.starts_with("http://"))?;
    is_api.then(|| address.to_owned())
}

fn stop(mut cluster: Child) -> Result<()> {
    // The time limit around it passes the signal on.
    let pid = cluster.id().to_string();
    let told = Command::new("kill").args(["-TERM", &pid]).status()?;
    let ended = cluster.wait()?;
    ensure!(
        told.success() && ended.success(),
        "the cluster ended with {ended}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::program;

    fn says(script: &str) -> (Result<String>, Child) {
        let mut command = program("sh", Path::new("/"));
        command.args(["-c", script]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        (apis(&mut child), child)
    }

    #[test]
    fn the_apis_are_read_and_the_program_is_stopped() {
        let script = "trap 'exit 0' TERM; echo 'CQL 127.0.0.1:9042'; \
            echo '1-api  http://127.0.0.1:1  others: 127.0.0.1:2'; \
            echo '2-sync  http://127.0.0.1:3  others: 127.0.0.1:4'; \
            echo '3-persister-api  http://127.0.0.1:5  others: 127.0.0.1:6'; \
            echo '1-api  ready'; echo 'everything is ready; Ctrl-C stops it'; \
            while :; do sleep 0.1; done";
        let (apis, child) = says(script);
        assert_eq!(apis.unwrap(), "http://127.0.0.1:1,http://127.0.0.1:5");
        stop(child).unwrap();
    }

    #[test]
    fn one_that_does_not_come_up_or_end_in_order_is_a_failure() {
        let (apis, child) = says("echo '1-api  http://127.0.0.1:1'; exit 3");
        assert!(apis.is_err());
        assert!(stop(child).is_err());
        let (apis, child) = says("echo '1-api  http://127.0.0.1:1'; echo 'everything is ready'");
        assert!(apis.is_err(), "one API is no cluster");
        let _ = stop(child);
    }
}
