//! `append-speed`: throughput and latency of the log's append, by batch size and number of slots.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use hanse_testkit::{MeasuredCluster, append_speed::AppendSpeed};

/// Measure the append of the slot log on a CQL cluster, or on the embedded engine.
#[derive(Debug, Parser)]
#[command(name = "append-speed")]
struct Cli {
    #[command(flatten)]
    cluster: MeasuredCluster,
    /// Process ids of the nodes, to tell their processor time
    #[arg(long, value_delimiter = ',')]
    pids: Vec<u32>,
    /// Where the disk alone is measured, and the embedded engine writes
    #[arg(long, value_name = "DIRECTORY")]
    directory: PathBuf,
    /// Numbers of slots
    #[arg(long, value_delimiter = ',', default_value = "1,16,64")]
    slots: Vec<u32>,
    /// Entries of a bare batch
    #[arg(long, value_delimiter = ',', default_value = "1,16,128")]
    entries: Vec<u32>,
    /// Senders of the real logs, over all slots
    #[arg(long, value_delimiter = ',', default_value = "1,64,512")]
    senders: Vec<u32>,
    /// Bytes of an entry
    #[arg(long, default_value_t = 512)]
    bytes: usize,
    /// Rows that an entry writes to the archives, in the real logs
    #[arg(long, default_value_t = 1)]
    rows: u32,
    /// How long each is measured, in seconds
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How long each runs before that, in seconds
    #[arg(long, default_value_t = 2)]
    warm_up: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let speed = AppendSpeed {
        cluster: cli.cluster,
        pids: cli.pids,
        directory: cli.directory,
        slots: cli.slots,
        entries: cli.entries,
        senders: cli.senders,
        bytes: cli.bytes,
        rows: cli.rows,
        measured: Duration::from_secs(cli.seconds),
        warm_up: Duration::from_secs(cli.warm_up),
    };
    let say = |line: String| {
        let _ = writeln!(io::stdout(), "{line}");
    };
    match speed.run(say).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "append-speed: {error:#}");
            ExitCode::FAILURE
        }
    }
}
