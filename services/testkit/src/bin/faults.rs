//! `faults`: does to a whole cluster under load whatever may happen to one.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use hanse_testkit::{
    HanseProcess,
    faults::{Faults, Programme, Times},
};
use tokio::signal::unix::{SignalKind, signal};

/// Kill, freeze, drain and add processes of a cluster under load, and look for what was lost.
#[derive(Debug, Parser)]
#[command(name = "faults")]
struct Cli {
    /// The CQL server; with `--cql-run` the first of three
    #[arg(long, env = "HANSE_TEST_CQL", value_name = "HOST:PORT")]
    cql: String,
    /// Where `NODES=3 deploy/cql/start.sh` put a cluster: one of its nodes is killed, too
    #[arg(long, value_name = "DIRECTORY")]
    cql_run: Option<PathBuf>,
    /// That script's folder
    #[arg(long, value_name = "DIRECTORY", default_value = "deploy/cql")]
    scripts: PathBuf,
    /// Where the processes' data and logs go [default: gone at the end]
    #[arg(long, value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
    /// The server [default: `HANSE_BIN`, else target/release/hanse]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Into how many slots the cluster is divided
    #[arg(long, default_value_t = 64)]
    slots: u32,
    /// How many send and sync at the same time
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=200))]
    users: u16,
    /// Rooms, with everybody in each
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=200))]
    rooms: u16,
    /// Processes killed; the roles take turns
    #[arg(long, default_value_t = 20)]
    kills: u32,
    /// Persisters frozen for longer than their lease
    #[arg(long, default_value_t = 2)]
    freezes: u32,
    /// How often Redis is flushed
    #[arg(long, default_value_t = 2)]
    flushes: u32,
    /// How often Redis is killed
    #[arg(long, default_value_t = 2)]
    redis_kills: u32,
    /// Persisters added
    #[arg(long, default_value_t = 1)]
    adds: u32,
    /// Persisters drained
    #[arg(long, default_value_t = 1)]
    drains: u32,
    /// Instead of all that, restart every process in order: no request may fail
    #[arg(long)]
    rolling: bool,
    /// Decides to whom it happens, when, and in which order [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// Show how long faults stall others, and do not judge it: for machines that have other work
    #[arg(long)]
    unjudged_stalls: bool,
    /// Say of a message that was never sent that it was acknowledged: the checks must find it
    #[arg(long)]
    sabotage: bool,
}

impl Cli {
    fn programme(&self) -> Programme {
        if self.rolling {
            return Programme::Rolling;
        }
        Programme::Faults(Times {
            kills: self.kills,
            freezes: self.freezes,
            flushes: self.flushes,
            redis_kills: self.redis_kills,
            adds: self.adds,
            drains: self.drains,
        })
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run_until_told(Cli::parse()).await {
        Ok(passed) => ExitCode::from(u8::from(!passed)),
        Err(error) => {
            say(&format!("faults: {error:#}\n0 passed, 1 failed\n"));
            ExitCode::FAILURE
        }
    }
}

/// Dropping the run ends what it started.
async fn run_until_told(cli: Cli) -> anyhow::Result<bool> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        done = run(cli) => done,
        _ = terminate.recv() => anyhow::bail!("terminated"),
        _ = interrupt.recv() => anyhow::bail!("interrupted"),
    }
}

async fn run(cli: Cli) -> anyhow::Result<bool> {
    let temporary = tempfile::tempdir()?;
    let programme = cli.programme();
    let seed = cli.seed;
    let faults = Faults {
        binary: cli.binary.unwrap_or_else(HanseProcess::binary),
        directory: cli.directory.unwrap_or_else(|| temporary.path().to_owned()),
        cql: cli.cql,
        cql_run: cli.cql_run,
        scripts: cli.scripts,
        slots: cli.slots,
        users: cli.users.into(),
        rooms: cli.rooms.into(),
        programme,
        seed: seed.unwrap_or_else(|| RandomState::new().build_hasher().finish()),
        judges_stalls: !cli.unjudged_stalls,
        sabotage: cli.sabotage,
    };
    say(&format!("seed {}\n", faults.seed));
    let verdict = faults.run().await?;
    say(&verdict.to_string());
    Ok(verdict.passed())
}

fn say(text: &str) {
    let _ = write!(io::stdout(), "{text}");
}
