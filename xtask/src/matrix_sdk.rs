//! matrix-sdk, the Rust client, against a server.
//!
//! Not a layer of the gate: it takes minutes to build.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::ValueEnum;

use crate::command::{must, program};
use crate::counts::Counts;
use crate::setup::{self, Need};
use crate::{checks, cluster};

/// Where the scenarios are run.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Target {
    /// One process
    Hanse,
    /// Several, each client at another one
    Cluster,
    /// What judges the scenarios
    Synapse,
}

impl Target {
    fn needs(self) -> &'static [Need] {
        match self {
            Self::Hanse => &[Need::Python, Need::Binary],
            Self::Cluster => &[Need::Java, Need::Redis, Need::Python, Need::Binary],
            Self::Synapse => &[Need::Python],
        }
    }
}

/// The workspace of the program that runs the scenarios.
pub(crate) fn workspace(root: &Path) -> PathBuf {
    root.join("tests/clients/rust")
}

/// Builds the program, and has pytest run each of its scenarios.
pub(crate) fn run(root: &Path, target: Target) -> Result<Counts> {
    target
        .needs()
        .iter()
        .try_for_each(|need| need.prepare(root))?;
    let program = build(root)?;
    let args = ["tests/clients", "-m", "matrix_sdk", "--matrix-sdk"].map(str::to_owned);
    let args = [&args[..], &[program.display().to_string()]].concat();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match target {
        Target::Hanse => checks::pytest(root, "hanse", &args),
        Target::Synapse => checks::pytest(root, "synapse", &args),
        Target::Cluster => cluster::with_apis(root, "matrix-sdk", |apis| {
            checks::pytest(
                root,
                "hanse",
                &[&args[..], &["--server-url", apis]].concat(),
            )
        }),
    }
}

fn build(root: &Path) -> Result<PathBuf> {
    let directory = setup::test_env(root).join("matrix-sdk");
    let mut cargo = program("cargo", &workspace(root));
    cargo
        .args(["build", "--locked", "--target-dir"])
        .arg(&directory);
    must(&mut cargo)?;
    Ok(directory.join("debug/matrix-sdk-scenarios"))
}
