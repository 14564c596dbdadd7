//! The project's own commands: `cargo xtask …`.
//!
//! Invariant: the gate is `cargo xtask test`, and whoever passes it here passes it there: what it
//! needs it installs, and it knows no machine.
#![expect(
    clippy::print_stdout,
    reason = "a command line tool reports to its user"
)]

mod checks;
mod codegen;
mod command;
mod counts;
mod cql;
mod gate;
mod layers;
mod setup;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    /// Run the slot log in a world that fails; `-- --help` tells how
    Simulate {
        /// Arguments of the simulation: --seeds N, --from S, --seed S, --determinism N, …
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
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
        Command::Simulate { args } => {
            command::run(checks::simulate(&root).args(args)).map(|ran| ran.success)
        }
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

/// The repository: the folder above this crate's.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}
