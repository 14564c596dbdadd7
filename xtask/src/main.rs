//! The project's own commands: `cargo xtask …`.
//!
//! Invariant: the gate is `cargo xtask test`, and whoever passes it here passes it there: what it
//! needs it installs, and it knows no machine.
#![expect(
    clippy::print_stdout,
    reason = "a command line tool reports to its user"
)]

mod checks;
mod cluster;
mod codegen;
mod command;
mod counts;
mod cql;
mod fuzz;
mod gate;
mod layers;
mod matrix_sdk;
mod setup;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::counts::Counts;
use crate::setup::Need;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The project's own commands")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything the gate runs, and end with `N passed, N failed`
    #[command(alias = "ci")]
    Test {
        /// Run these layers only; repeat it or separate names by commas
        #[arg(long, value_delimiter = ',', value_parser = layers::names())]
        only: Vec<String>,
    },
    /// Run the CQL engine's conformance suite on three nodes while they are killed in turn
    CqlThreeNodes {
        /// How often a node is killed
        #[arg(long, default_value_t = 9)]
        kills: u32,
        /// Decides the moments [default: another one each time]
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Let processes contend for one slot on CQL and Redis, and freeze and kill them meanwhile
    Contention {
        /// How many processes
        #[arg(long, default_value_t = 10)]
        processes: u8,
        /// How long, in seconds
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Decides what is done to whom [default: another one each time]
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Kill, freeze, drain and add processes of a whole cluster under load, and look for what was lost
    Faults {
        /// How many processes are killed; the roles take turns
        #[arg(long, default_value_t = 20)]
        kills: u32,
        /// CQL nodes; of three one is killed, too
        #[arg(long, default_value = "1", value_parser = ["1", "3"])]
        nodes: String,
        /// How many send and sync, and in how many rooms; three nodes leave two cores little for more
        /// than 6 [default: 12]
        #[arg(long)]
        users: Option<u32>,
        /// Instead of that, restart every process in order: no request may fail
        #[arg(long)]
        rolling: bool,
        /// Decides to whom it happens, when, and in which order [default: another one each time]
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Start a whole cluster on this machine, until Ctrl-C: CQL, Redis and processes with roles
    Cluster {
        /// Names target/cluster/NAME, where data and logs are; data of an earlier run are used again
        #[arg(long, default_value = "dev")]
        name: String,
        /// The roles of a process, separated by commas; repeat it for each process
        /// [default: two each of api, persister and sync]
        #[arg(long, value_name = "ROLES")]
        process: Vec<String>,
        /// Into how many slots it is divided [default: 256]
        #[arg(long)]
        slots: Option<u32>,
    },
    /// Run the black-box suite and the real clients on a whole cluster, each user at another API
    ClusterSuites,
    /// Build matrix-sdk, and run it on a server: encryption, verified devices, key backup
    MatrixSdk {
        /// The server
        #[arg(long, value_enum, default_value = "hanse")]
        on: matrix_sdk::Target,
    },
    /// Run the slot log in a world that fails; `-- --help` tells how
    Simulate {
        /// Arguments of the simulation: --seeds N, --from S, --seed S, --determinism N, …
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Feed random event graphs to the room pipeline and compare with a naive reference; `-- --help`
    /// tells how
    Graphs {
        /// Arguments: --graphs N, --from SEED, --orders N, --jobs N
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Let libFuzzer search for inputs of which a property of hanse-event does not hold
    Fuzz {
        /// How long each target is run, in seconds
        #[arg(long, default_value_t = fuzz::SECONDS)]
        seconds: u32,
        /// Run these targets only; repeat it or separate names by commas
        #[arg(long, value_delimiter = ',', value_parser = fuzz::names())]
        target: Vec<String>,
    },
    /// Generate proto/src/gen from proto/hanse/*.proto
    Codegen,
}

fn main() -> ExitCode {
    let root = root();
    let done = match Cli::parse().command {
        Command::Test { only } => Ok(gate::run(&root, &only)),
        Command::CqlThreeNodes { kills, seed } => Need::Java
            .prepare(&root)
            .and_then(|()| checks::cql_three_nodes(&root, kills, seed))
            .map(|counts| counts.failed == 0 && counts.passed > 0),
        Command::Contention {
            processes,
            seconds,
            seed,
        } => [Need::Java, Need::Redis]
            .iter()
            .try_for_each(|need| need.prepare(&root))
            .and_then(|()| checks::contention_for(&root, processes, seconds, seed))
            .map(|counts| counts.failed == 0 && counts.passed > 0),
        Command::Faults {
            kills,
            nodes,
            users,
            rolling,
            seed,
        } => {
            let mut args = vec![format!("--kills={kills}")];
            for option in ["users", "rooms"] {
                args.extend(users.map(|users| format!("--{option}={users}")));
            }
            args.extend(rolling.then(|| "--rolling".to_owned()));
            args.extend(seed.map(|seed| format!("--seed={seed}")));
            faults(&root, &nodes, &args)
        }
        Command::Cluster {
            name,
            process,
            slots,
        } => cluster::run(&root, &name, &process, slots),
        Command::ClusterSuites => [
            Need::Java,
            Need::Redis,
            Need::Python,
            Need::Node,
            Need::Binary,
        ]
        .iter()
        .try_for_each(|need| need.prepare(&root))
        .and_then(|()| checks::cluster_suites(&root))
        .map(|counts| counts.failed == 0 && counts.passed > 0),
        Command::Simulate { args } => {
            command::run(checks::simulate(&root).args(args)).map(|ran| ran.success)
        }
        Command::Graphs { args } => checks::feed_graphs(&root)
            .and_then(|mut command| command::run(command.args(args)))
            .map(|ran| ran.success),
        Command::Fuzz { seconds, target } => Need::Cxx
            .prepare(&root)
            .and_then(|()| fuzz::run(&root, seconds, &target))
            .map(Counts::account),
        Command::MatrixSdk { on } => matrix_sdk::run(&root, on).map(Counts::account),
        Command::Codegen => codegen::write(&root).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn faults(root: &Path, nodes: &str, args: &[String]) -> anyhow::Result<bool> {
    for need in [Need::Java, Need::Redis, Need::Binary] {
        need.prepare(root)?;
    }
    let nodes = match nodes {
        "3" => cql::Nodes::Three,
        _ => cql::Nodes::One,
    };
    let counts = checks::faults_for(root, nodes, args)?;
    Ok(counts.failed == 0 && counts.passed > 0)
}

/// The repository: the folder above this crate's.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}
