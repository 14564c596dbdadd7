//! `cluster`: a whole cluster on this machine until Ctrl-C.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use hanse_testkit::{CqlNode, HanseProcess, LocalCluster, NodePlan, Plan};
use tokio::signal::unix::{SignalKind, signal};

/// How long the CQL server lives if nobody stops it: a week.
const CQL_LIFE_SECONDS: u64 = 7 * 24 * 3_600;
/// How often it is looked whether a process has ended.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Start one CQL node, Redis and processes of Hanse on the loopback interface, and stop them all on
/// Ctrl-C
#[derive(Debug, Parser)]
#[command(name = "cluster")]
struct Cli {
    /// Where data and logs go; data of an earlier run are used again
    #[arg(long, value_name = "DIRECTORY")]
    directory: PathBuf,
    /// The folder of the CQL server's scripts
    #[arg(long, value_name = "DIRECTORY", default_value = "deploy/cql")]
    scripts: PathBuf,
    /// Into how many slots it is divided
    #[arg(long, default_value_t = 256)]
    slots: u32,
    /// The roles of a process, separated by commas; repeat it for each process
    #[arg(long, value_name = "ROLES", default_values = ["api", "api", "persister", "persister", "sync", "sync"])]
    process: Vec<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "cluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Owned here, so that what was started is stopped whatever ends the rest.
    let mut started = Started::default();
    let up = async {
        started.up(&cli).await?;
        started.until_one_ends().await
    };
    let ended = tokio::select! {
        ended = up => ended,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    say("stopping");
    let stopped = match started.cluster.take() {
        Some(cluster) => cluster.stop().await,
        None => Ok(()),
    };
    drop(started);
    ended.and(stopped)
}

/// What runs.
#[derive(Default)]
struct Started {
    // In this order: the processes need the server for their drain.
    cluster: Option<LocalCluster>,
    cql: Option<CqlNode>,
}

impl Started {
    async fn up(&mut self, cli: &Cli) -> anyhow::Result<()> {
        let directory = cli.directory.join("cql");
        let cql = self
            .cql
            .insert(CqlNode::start(&cli.scripts, &directory, CQL_LIFE_SECONDS)?);
        say(&format!("{:24} {}", "CQL", cql.address()));
        let plan = Plan {
            binary: HanseProcess::binary(),
            directory: cli.directory.clone(),
            cql: vec![cql.address().to_owned()],
            keyspace: "hanse".to_owned(),
            slots: cli.slots,
            settings: String::new(),
            nodes: nodes(&cli.process),
        };
        let cluster = self.cluster.insert(LocalCluster::spawn(plan).await?);
        say(&format!("{:24} {}", "Redis", cluster.redis.url()));
        for node in &mut cluster.nodes {
            let (name, address) = (&node.plan.name, node.process.address());
            let pid = node.process.pid().unwrap_or_default();
            let log = cli.directory.join(name).join("server.log");
            let internal = node.internal;
            say(&format!(
                "{name:24} http://{address}  others: {internal}  pid {pid}  {}",
                log.display()
            ));
        }
        for node in &mut cluster.nodes {
            node.ready().await?;
            say(&format!("{:24} ready", node.plan.name));
        }
        say("everything is ready; Ctrl-C stops it");
        Ok(())
    }

    async fn until_one_ends(&mut self) -> anyhow::Result<()> {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            for node in self
                .cluster
                .iter_mut()
                .flat_map(|cluster| &mut cluster.nodes)
            {
                let (name, log) = (&node.plan.name, node.process.log_tail());
                anyhow::ensure!(!node.process.has_ended()?, "{name} has ended: {log}");
            }
        }
    }
}

fn nodes(processes: &[String]) -> Vec<NodePlan> {
    let numbered = (1..).zip(processes);
    let node = |(number, roles): (usize, &String)| NodePlan {
        name: format!("{number}-{}", roles.replace(',', "-")),
        roles: roles.clone(),
        cql: None,
    };
    numbered.map(node).collect()
}

fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}
