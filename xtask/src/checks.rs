//! What each layer runs.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::command::{Ran, answers, must, program, run};
use crate::counts::{Counts, Runner};
use crate::{codegen, setup};

/// Which variable tells the tests of the CQL engine where the server is; also how
/// `deploy/cql/start.sh` says it, as `HANSE_TEST_CQL=address:port` on a line of its own.
const CQL_VARIABLE: &str = "HANSE_TEST_CQL";

pub(crate) fn fmt(root: &Path) -> Result<Counts> {
    cargo_check(root, &["fmt", "--all", "--check"])
}

pub(crate) fn clippy(root: &Path) -> Result<Counts> {
    let args = [
        "--workspace",
        "--all-targets",
        "--all-features",
        "--",
        "-D",
        "warnings",
    ];
    cargo_check(root, &[&["clippy"], &args[..]].concat())
}

pub(crate) fn docs(root: &Path) -> Result<Counts> {
    let mut command = program("cargo", root);
    command
        .args(["doc", "--workspace", "--no-deps"])
        .env("RUSTDOCFLAGS", "-D warnings");
    Ok(Counts::one(run(&mut command)?.success))
}

pub(crate) fn codegen(root: &Path) -> Result<Counts> {
    let stale = codegen::stale(root)?;
    for name in &stale {
        println!("proto/src/gen/{name} is not what `cargo xtask codegen` makes");
    }
    Ok(Counts::one(stale.is_empty()))
}

pub(crate) fn deny(root: &Path) -> Result<Counts> {
    cargo_check(root, &["deny", "check", "--config", ".deny.toml"])
}

pub(crate) fn no_deny(_: &Path) -> Option<&'static str> {
    (!answers("cargo", &["deny", "--version"])).then_some("cargo-deny is not installed")
}

pub(crate) fn machete(root: &Path) -> Result<Counts> {
    cargo_check(root, &["machete"])
}

pub(crate) fn no_machete(_: &Path) -> Option<&'static str> {
    (!answers("cargo", &["machete", "--version"])).then_some("cargo-machete is not installed")
}

pub(crate) fn typos(root: &Path) -> Result<Counts> {
    Ok(Counts::one(
        run(program("typos", root).args(["--config", ".typos.toml"]))?.success,
    ))
}

pub(crate) fn no_typos(_: &Path) -> Option<&'static str> {
    (!answers("typos", &["--version"])).then_some("typos is not installed")
}

/// Unit and integration tests of every crate; with nextest, which leaves out the documentation's
/// examples, if it is installed.
pub(crate) fn tests(root: &Path) -> Result<Counts> {
    if !answers("cargo", &["nextest", "--version"]) {
        return cargo_test(root, &["test", "--workspace", "--no-fail-fast"]);
    }
    let args = ["nextest", "run", "--workspace", "--no-fail-fast"];
    let ran = run(program("cargo", root).args(args))?;
    let mut counts = counted(Runner::Nextest, &ran);
    let ran = run(program("cargo", root).args(["test", "--workspace", "--doc", "--no-fail-fast"]))?;
    let mut examples = Runner::CargoTest.count(&ran.lines);
    if !ran.success {
        examples = examples.honest(false);
    }
    counts += examples;
    Ok(counts)
}

/// The statements of the slot log and the CQL engine, on a server that is started for it.
pub(crate) fn cql(root: &Path) -> Result<Counts> {
    let scripts = root.join("deploy/cql");
    let data = setup::test_env(root).join("cql");
    let _ = fs::remove_dir_all(&data);
    fs::create_dir_all(&data)?;
    let started =
        must(program("./start.sh", &scripts).arg(&data)).and_then(|ran| cql_address(&ran));
    let counts = started.and_then(|address| {
        let args = [
            "test",
            "--package",
            "hanse-store-scylla",
            "--features",
            "cassandra",
        ];
        let mut command = program("cargo", root);
        command
            .args(args)
            .arg("--no-fail-fast")
            .env(CQL_VARIABLE, address);
        Ok(counted(Runner::CargoTest, &run(&mut command)?))
    });
    must(program("./stop.sh", &scripts).arg(&data))?;
    counts
}

/// The bus, on Redis servers that its tests start.
pub(crate) fn redis(root: &Path) -> Result<Counts> {
    let args = [
        "test",
        "--package",
        "hanse-bus-redis",
        "--features",
        "redis-server",
        "--test",
        "redis",
    ];
    cargo_test(root, &[&args[..], &["--no-fail-fast"]].concat())
}

fn cql_address(ran: &Ran) -> Result<String> {
    let address = ran.lines.iter().find_map(|line| {
        let (name, address) = line.trim().split_once('=')?;
        (name == CQL_VARIABLE).then(|| address.to_owned())
    });
    address.with_context(|| format!("deploy/cql/start.sh printed no {CQL_VARIABLE}=…"))
}

pub(crate) fn no_cql(root: &Path) -> Option<&'static str> {
    missing(
        root,
        "deploy/cql/start.sh",
        "there is no deploy/cql/start.sh",
    )
}

/// The server killed under load again and again.
pub(crate) fn kill(root: &Path) -> Result<Counts> {
    let mut command = program("cargo", root);
    command.args(["run", "--release", "--package", "hanse-testkit"]);
    command.args(["--bin", "kill-loop", "--", "--rounds", "20"]);
    command.env("HANSE_BIN", setup::binary_path(root));
    Ok(counted(Runner::Plain, &run(&mut command)?))
}

pub(crate) fn no_kill(root: &Path) -> Option<&'static str> {
    let file = "services/testkit/src/bin/kill-loop.rs";
    missing(root, file, "hanse-testkit has no kill-loop")
}

pub(crate) fn blackbox_hanse(root: &Path) -> Result<Counts> {
    pytest(root, "tests/blackbox", "hanse", &["-n", "2"])
}

pub(crate) fn blackbox_synapse(root: &Path) -> Result<Counts> {
    pytest(root, "tests/blackbox", "synapse", &["-n", "2"])
}

pub(crate) fn no_blackbox(root: &Path) -> Option<&'static str> {
    missing(
        root,
        "tests/blackbox/conftest.py",
        "there is no tests/blackbox",
    )
}

pub(crate) fn clients(root: &Path) -> Result<Counts> {
    pytest(
        root,
        "tests/clients",
        "hanse",
        &["-n", "2", "--dist", "loadfile"],
    )
}

pub(crate) fn no_clients(root: &Path) -> Option<&'static str> {
    missing(
        root,
        "tests/clients/conftest.py",
        "there is no tests/clients",
    )
}

fn pytest(root: &Path, folder: &str, target: &str, args: &[&str]) -> Result<Counts> {
    let mut command = program(setup::python_path(root), root);
    command.args(["-m", "pytest", "-q", folder]).args(args);
    command
        .env("TARGET", target)
        .env("HANSE_BIN", setup::binary_path(root));
    Ok(counted(Runner::Pytest, &run(&mut command)?))
}

fn cargo_check(root: &Path, args: &[&str]) -> Result<Counts> {
    Ok(Counts::one(run(program("cargo", root).args(args))?.success))
}

fn cargo_test(root: &Path, args: &[&str]) -> Result<Counts> {
    Ok(counted(
        Runner::CargoTest,
        &run(program("cargo", root).args(args))?,
    ))
}

fn counted(runner: Runner, ran: &Ran) -> Counts {
    runner.count(&ran.lines).honest(ran.success)
}

fn missing(root: &Path, path: &str, why: &'static str) -> Option<&'static str> {
    (!root.join(path).exists()).then_some(why)
}
