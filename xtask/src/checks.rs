//! What each layer runs.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{Ran, answers, must, program, run};
use crate::counts::{Counts, Runner};
use crate::{cluster, codegen, cql, fuzz, matrix_sdk, setup};

pub(crate) fn fmt(root: &Path) -> Result<Counts> {
    let mut counts = cargo_check(root, &["fmt", "--all", "--check"])?;
    for workspace in [fuzz::workspace(root), matrix_sdk::workspace(root)] {
        counts += cargo_check(&workspace, &["fmt", "--check"])?;
    }
    Ok(counts)
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
    let mut command = with_server(root, "services/store-scylla", "cassandra")?;
    cql::with_nodes(root, cql::Nodes::One, |_, address| {
        command.env(cql::VARIABLE, address);
        Ok(counted(Runner::CargoTest, &run(&mut command)?))
    })
}

/// The bus, on Redis servers that its tests start.
pub(crate) fn redis(root: &Path) -> Result<Counts> {
    let mut command = with_server(root, "services/bus-redis", "redis")?;
    Ok(counted(Runner::CargoTest, &run(&mut command)?))
}

/// The features that compile the tests which need servers.
const SERVER_FEATURES: &str =
    "hanse/cluster,hanse-bus-redis/redis-server,hanse-store-scylla/cassandra";

/// The tests of a crate that need a server. Built with the whole workspace: for one crate alone its
/// dependencies would have other features than for all other tests, and be built again.
fn with_server(root: &Path, folder: &str, target: &str) -> Result<Command> {
    let mut build = program("cargo", root);
    build.args(["test", "--workspace", "--no-run", "--features"]);
    let ran = must(build.arg(SERVER_FEATURES))?;
    let named = format!("Executable tests/{target}/main.rs (");
    let path = ran.lines.iter().find_map(|line| {
        let (_, path) = line.split_once(&named)?;
        path.strip_suffix(')')
    });
    let path = path.with_context(|| format!("cargo did not build the tests `{target}`"))?;
    Ok(program(root.join(path), &root.join(folder)))
}

/// The CQL engine's conformance suite on three nodes, each killed and brought back meanwhile.
pub(crate) fn cql_three_nodes(root: &Path, kills: u32, seed: Option<u64>) -> Result<Counts> {
    cql::with_nodes(root, cql::Nodes::Three, |directory, _| {
        let mut command = program(setup::testkit(root, "cql-three-nodes")?, root);
        command.arg("--run").arg(directory);
        command.args(["--kills", &kills.to_string()]);
        command.args(seed.map(|seed| format!("--seed={seed}")));
        Ok(counted(Runner::Plain, &run(&mut command)?))
    })
}

/// A sample of [`contention_for`].
pub(crate) fn contention(root: &Path) -> Result<Counts> {
    contention_for(root, 6, 20, None)
}

/// Many processes that want one slot, frozen and killed, and Redis with them.
pub(crate) fn contention_for(
    root: &Path,
    processes: u8,
    seconds: u64,
    seed: Option<u64>,
) -> Result<Counts> {
    cql::with_nodes(root, cql::Nodes::One, |_, address| {
        let mut command = program(setup::testkit(root, "contention")?, root);
        command.args(["--processes", &processes.to_string()]);
        command.args(["--seconds", &seconds.to_string()]);
        command.args(seed.map(|seed| format!("--seed={seed}")));
        command.env(cql::VARIABLE, address);
        Ok(counted(Runner::Plain, &run(&mut command)?))
    })
}

/// Processes with roles on a CQL server and Redis.
pub(crate) fn cluster(root: &Path) -> Result<Counts> {
    let mut command = with_server(root, "services/hanse", "processes")?;
    // Each test starts processes of its own.
    command.args(["--test-threads", "1"]);
    cql::with_nodes(root, cql::Nodes::One, |_, address| {
        command.env(cql::VARIABLE, address);
        Ok(counted(Runner::CargoTest, &run(&mut command)?))
    })
}

/// A sample of [`faults_for`]: each sort of fault. How long they stall others is told, not judged.
pub(crate) fn faults(root: &Path) -> Result<Counts> {
    let once = ["freezes", "flushes", "redis-kills", "adds", "drains"];
    let once = once.map(|fault| format!("--{fault}=1"));
    let rest = ["--kills=3", "--slots=32", "--unjudged-stalls"].map(str::to_owned);
    faults_for(root, cql::Nodes::One, &[&once[..], &rest[..]].concat())
}

/// A cluster of real processes under load, and whatever may happen to it.
pub(crate) fn faults_for(root: &Path, nodes: cql::Nodes, args: &[String]) -> Result<Counts> {
    cql::with_nodes(root, nodes, |directory, address| {
        let mut command = program(setup::testkit(root, "faults")?, root);
        command.args(args);
        if nodes == cql::Nodes::Three {
            command.arg("--cql-run").arg(directory);
        }
        command.env(cql::VARIABLE, address);
        command.env("HANSE_BIN", setup::binary_path(root));
        Ok(counted(Runner::Plain, &run(&mut command)?))
    })
}

pub(crate) fn no_cql(root: &Path) -> Option<&'static str> {
    missing(
        root,
        "deploy/cql/start.sh",
        "there is no deploy/cql/start.sh",
    )
}

/// The slot log in a world that fails: seeds, some of them twice, and each sabotage until it is found. By
/// the binary that was built with the tests: of its own it would be built with other dependencies.
pub(crate) fn simulation(root: &Path) -> Result<Counts> {
    must(program("cargo", root).args(["test", "--workspace", "--no-run"]))?;
    let mut command = program(setup::target(root).join("debug/simulate"), root);
    command.args(["--seeds", "200", "--determinism", "5", "--mutations"]);
    Ok(counted(Runner::Plain, &run(&mut command)?))
}

/// The simulation's binary, optimised, to be given its arguments.
pub(crate) fn simulate(root: &Path) -> Command {
    let mut command = program("cargo", root);
    command.args(["run", "--release", "--package", "hanse-simulation"]);
    command.args(["--bin", "simulate", "--"]);
    command
}

/// Random event graphs against the reference.
pub(crate) fn graphs(root: &Path) -> Result<Counts> {
    let mut command = feed_graphs(root)?;
    let ran = run(command.args(["--graphs", "2000"]))?;
    Ok(counted(Runner::Plain, &ran))
}

/// Each fuzz target for a minute.
pub(crate) fn fuzz(root: &Path) -> Result<Counts> {
    fuzz::run(root, fuzz::SECONDS, &[])
}

/// The graphs' binary, optimised, to be given its arguments.
pub(crate) fn feed_graphs(root: &Path) -> Result<Command> {
    Ok(program(setup::testkit(root, "graphs")?, root))
}

/// The server killed under load again and again.
pub(crate) fn kill(root: &Path) -> Result<Counts> {
    let mut command = program(setup::testkit(root, "kill-loop")?, root);
    command.args(["--rounds", "20"]);
    command.env("HANSE_BIN", setup::binary_path(root));
    Ok(counted(Runner::Plain, &run(&mut command)?))
}

pub(crate) fn no_kill(root: &Path) -> Option<&'static str> {
    let file = "services/testkit/src/bin/kill-loop.rs";
    missing(root, file, "hanse-testkit has no kill-loop")
}

pub(crate) fn blackbox_hanse(root: &Path) -> Result<Counts> {
    pytest(root, "hanse", &["tests/blackbox", "-n", "2"])
}

pub(crate) fn blackbox_synapse(root: &Path) -> Result<Counts> {
    pytest(root, "synapse", &["tests/blackbox", "-n", "2"])
}

pub(crate) fn no_blackbox(root: &Path) -> Option<&'static str> {
    missing(
        root,
        "tests/blackbox/conftest.py",
        "there is no tests/blackbox",
    )
}

pub(crate) fn clients(root: &Path) -> Result<Counts> {
    let args = ["tests/clients", "-n", "2", "--dist", "loadfile"];
    pytest(root, "hanse", &args)
}

pub(crate) fn no_clients(root: &Path) -> Option<&'static str> {
    missing(
        root,
        "tests/clients/conftest.py",
        "there is no tests/clients",
    )
}

/// Of the black-box suite, what one process must learn from another.
const CROSSING: [&str; 9] = [
    "account_data",
    "device_lists",
    "receipts",
    "room_membership",
    "send_to_device",
    "sync",
    "sync_rooms",
    "sync_waiting",
    "typing",
];

/// A sample of the black-box suite on a cluster, each session at another API.
pub(crate) fn blackbox_cluster(root: &Path) -> Result<Counts> {
    let files = CROSSING.map(|name| format!("tests/blackbox/test_{name}.py"));
    cluster::with_apis(root, "blackbox", |apis| {
        blackbox_at(root, apis, &files.each_ref().map(String::as_str))
    })
}

/// The real clients on a cluster, each user at another API.
pub(crate) fn clients_cluster(root: &Path) -> Result<Counts> {
    cluster::with_apis(root, "clients", |apis| clients_at(root, apis))
}

/// All of the black-box suite, and the real clients, on one cluster.
pub(crate) fn cluster_suites(root: &Path) -> Result<Counts> {
    // Those start a server of their own, which is a single process.
    let single = ["restart", "crash"].map(|name| format!("--ignore=tests/blackbox/test_{name}.py"));
    let all = ["tests/blackbox", &single[0], &single[1]];
    cluster::with_apis(root, "suites", |apis| {
        let mut counts = blackbox_at(root, apis, &all)?;
        counts += clients_at(root, apis)?;
        Ok(counts)
    })
}

fn blackbox_at(root: &Path, apis: &str, what: &[&str]) -> Result<Counts> {
    let args = ["-n", "2", "--server-url", apis];
    pytest(root, "hanse", &[what, &args].concat())
}

fn clients_at(root: &Path, apis: &str) -> Result<Counts> {
    let args = ["-n", "2", "--dist", "loadfile", "--server-url", apis];
    pytest(root, "hanse", &[&["tests/clients"], &args[..]].concat())
}

pub(crate) fn no_blackbox_cluster(root: &Path) -> Option<&'static str> {
    no_blackbox(root).or_else(|| no_cql(root))
}

pub(crate) fn no_clients_cluster(root: &Path) -> Option<&'static str> {
    no_clients(root).or_else(|| no_cql(root))
}

/// The cases that `args` name, on a server of that kind.
pub(crate) fn pytest(root: &Path, target: &str, args: &[&str]) -> Result<Counts> {
    let mut command = program(setup::python_path(root), root);
    command.args(["-m", "pytest", "-q"]).args(args);
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
