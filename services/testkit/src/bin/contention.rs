//! `contention`: many processes that want one slot, on the real CQL server and the real Redis.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use clap::{Parser, Subcommand};
use hanse_testkit::contention::{ContenderOptions, Contention, contend};

/// Let processes contend for one slot, freeze and kill them and Redis, and look at the history.
#[derive(Debug, Parser)]
#[command(name = "contention")]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    /// The CQL server, host:port
    #[arg(long, env = "HANSE_TEST_CQL", default_value = "127.0.0.1:9042")]
    cql: String,
    /// Copies of each row
    #[arg(long, env = "HANSE_TEST_CQL_REPLICATION", default_value_t = 1)]
    replication: u8,
    /// How many contend
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(2..=50))]
    processes: u8,
    /// How long, in seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(10..=3_600))]
    seconds: u64,
    /// Decides what is done to whom [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// One of the processes; started by the program itself
    #[command(hide = true)]
    Contender(ContenderOptions),
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let run = match cli.role {
        Some(Role::Contender(options)) => contend(options).await.map(|()| true),
        None => contention(cli).await,
    };
    match run {
        Ok(passed) => ExitCode::from(u8::from(!passed)),
        Err(error) => {
            let _ = writeln!(io::stdout(), "contention: {error:#}\n0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

async fn contention(cli: Cli) -> anyhow::Result<bool> {
    let contention = Contention {
        program: std::env::current_exe()?,
        cql: cli.cql,
        replication: cli.replication,
        processes: cli.processes.into(),
        lasts: Duration::from_secs(cli.seconds),
        seed: cli
            .seed
            .unwrap_or_else(|| RandomState::new().build_hasher().finish()),
    };
    let _ = writeln!(io::stdout(), "seed {}", contention.seed);
    let verdict = contention.run().await?;
    let _ = write!(io::stdout(), "{verdict}");
    Ok(verdict.passed())
}
