//! The Hanse homeserver: one binary, every role.
//!
//! Invariant: nothing is decided here. The command line is read, the process set up, the roles are
//! wired to each other, and the drain is waited for.
//! Invariant: bad settings end with code 64 and name themselves; every other failure ends with 1.

mod account;
mod applier;
mod cli;
mod cluster;
mod deployment;
mod exit;
mod operator;
mod plugs;
mod ready;
mod serve;
mod welcome;
mod wiring;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use hanse_runtime::config::Config;

use crate::cli::{AdminCommand, Cli, Command};
use crate::exit::Failure;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => return exit::usage(&usage),
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => exit::failed(&failure),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(settings) => serve::serve(&Config::load(&settings.sources())?),
        Command::CheckConfig(settings) => {
            Config::load(&settings.sources())?;
            print("The configuration is valid.\n")
        }
        Command::Config => print(&Config::template()?),
        Command::Admin {
            command: AdminCommand::CreateUser(user),
        } => account::create(user),
    }
}

/// Writes to standard output.
fn print(text: &str) -> Result<(), Failure> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
