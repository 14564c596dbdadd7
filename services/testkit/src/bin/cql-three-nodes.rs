//! `cql-three-nodes`: the store's conformance suite on three CQL nodes that are killed in turn.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use hanse_testkit::cql_nodes::ThreeNodes;

/// Run the conformance suite in a loop while one node after the other is killed and brought back.
#[derive(Debug, Parser)]
#[command(name = "cql-three-nodes")]
struct Cli {
    /// Where `NODES=3 deploy/cql/start.sh` put the cluster
    #[arg(long, value_name = "DIRECTORY")]
    run: PathBuf,
    /// That script's folder
    #[arg(long, value_name = "DIRECTORY", default_value = "deploy/cql")]
    scripts: PathBuf,
    /// How often a node is killed
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    kills: u32,
    /// Decides the moments [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// Never write a row that is said to be acknowledged: the check must find it
    #[arg(long)]
    sabotage: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let nodes = ThreeNodes {
        directory: cli.run,
        scripts: cli.scripts,
        kills: cli.kills,
        seed: cli
            .seed
            .unwrap_or_else(|| RandomState::new().build_hasher().finish()),
        sabotage: cli.sabotage,
    };
    let _ = writeln!(io::stdout(), "seed {}", nodes.seed);
    // A case that an error ends panics; the verdict says which of them count.
    std::panic::set_hook(Box::new(|panic| {
        let _ = writeln!(io::stderr(), "{panic}");
    }));
    match nodes.run().await {
        Ok(verdict) => {
            let _ = write!(io::stdout(), "{verdict}");
            ExitCode::from(u8::from(!verdict.passed()))
        }
        Err(error) => {
            let _ = writeln!(
                io::stdout(),
                "cql-three-nodes: {error:#}\n0 passed, 1 failed"
            );
            ExitCode::FAILURE
        }
    }
}
