//! `large-join`: what the join of a large room costs, and whoever else is in its slot.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use hanse_testkit::{MeasuredCluster, large_join::LargeJoin};

/// Install a room with many members of other servers, and see that it is whole.
#[derive(Debug, Parser)]
#[command(name = "large-join")]
struct Cli {
    #[command(flatten)]
    cluster: MeasuredCluster,
    /// Where the embedded engine writes
    #[arg(long, value_name = "DIRECTORY")]
    directory: PathBuf,
    /// Members of the room
    #[arg(long, default_value_t = 100_000)]
    members: u32,
    /// Servers that they are of, each with a key of its own
    #[arg(long, default_value_t = 500)]
    servers: u32,
    /// Pause between two sends into another room of the slot, in ms
    #[arg(long, default_value_t = 20)]
    pause_ms: u64,
    /// Fail if it takes longer, in seconds
    #[arg(long)]
    within: Option<f64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let join = LargeJoin {
        cluster: cli.cluster,
        directory: cli.directory,
        members: cli.members,
        servers: cli.servers,
        pause: std::time::Duration::from_millis(cli.pause_ms),
        within_s: cli.within,
    };
    let say = |line: String| {
        let _ = writeln!(io::stdout(), "{line}");
    };
    match join.run(say).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "large-join: {error:#}");
            ExitCode::FAILURE
        }
    }
}
