//! `kill-loop`: kills the real server under writing load and checks what it kept.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use hanse_testkit::{HanseProcess, kill_loop::KillLoop};

/// Kill the server under writing load, again and again, and look for what was lost.
#[derive(Debug, Parser)]
#[command(name = "kill-loop")]
struct Cli {
    /// How often it is killed
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// How many write at the same time
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=200))]
    senders: u16,
    /// Decides when to kill and what to send again [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// The server [default: `HANSE_BIN`, else target/release/hanse]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Put old data back after the second kill: the checks must fail
    #[arg(long)]
    sabotage: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let kill_loop = KillLoop {
        binary: cli.binary.unwrap_or_else(HanseProcess::binary),
        rounds: cli.rounds,
        senders: cli.senders.into(),
        seed: cli
            .seed
            .unwrap_or_else(|| RandomState::new().build_hasher().finish()),
        sabotage: cli.sabotage,
    };
    let _ = writeln!(io::stdout(), "seed {}", kill_loop.seed);
    match kill_loop.run().await {
        Ok(verdict) => {
            let _ = write!(io::stdout(), "{verdict}");
            ExitCode::from(u8::from(!verdict.passed()))
        }
        Err(error) => {
            let _ = writeln!(io::stdout(), "kill-loop: {error:#}\n0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}
