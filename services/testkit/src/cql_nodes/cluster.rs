//! Three CQL servers that `deploy/cql/start.sh` started, and their kills.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    net::TcpStream,
    process::Command,
    time::{Instant, sleep},
};

const PORT: u16 = 9_042;
/// How long a killed process may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// A time during which a node was away.
#[derive(Clone, Debug)]
pub(super) struct Outage {
    /// Which node, from 1.
    pub(super) node: usize,
    /// From the kill until it took connections again.
    pub(super) away: Duration,
    /// Statements that the store answered in that time.
    pub(super) statements: u64,
}

/// The cluster.
pub(crate) struct Cluster {
    directory: PathBuf,
    scripts: PathBuf,
    net: [u8; 3],
    killed_at: Instant,
    outages: Vec<Outage>,
}

impl Cluster {
    pub(crate) const NODES: usize = 3;

    /// The cluster of a run directory.
    pub(crate) fn of(directory: &Path, scripts: &Path) -> anyhow::Result<Self> {
        let net = fs::read_to_string(directory.join("net"))
            .with_context(|| format!("no cluster was started in {}", directory.display()))?;
        let octets: Vec<u8> = net
            .trim()
            .split('.')
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        let net = <[u8; 3]>::try_from(octets);
        Ok(Self {
            directory: directory.canonicalize()?,
            scripts: scripts.canonicalize()?,
            net: net.ok().context("the file net names no network")?,
            killed_at: Instant::now(),
            outages: Vec::new(),
        })
    }

    fn address(&self, node: usize) -> SocketAddr {
        let [a, b, c] = self.net;
        SocketAddr::from((Ipv4Addr::new(a, b, c, (node + 1) as u8), PORT))
    }

    /// All contact points.
    pub(crate) fn nodes(&self) -> Vec<String> {
        (0..Self::NODES)
            .map(|node| self.address(node).to_string())
            .collect()
    }

    fn home(&self, node: usize) -> PathBuf {
        self.directory.join((node + 1).to_string())
    }

    /// SIGKILL, by the process id that the node's directory names.
    pub(crate) fn kill(&mut self, node: usize) -> anyhow::Result<()> {
        let pid = fs::read_to_string(self.home(node).join("pid"))?;
        let pid: i32 = pid.trim().parse()?;
        let arguments = fs::read_to_string(format!("/proc/{pid}/cmdline"))?;
        let home = self.home(node).display().to_string();
        ensure!(
            arguments.contains(&home),
            "process {pid} is no node of ours"
        );
        self.killed_at = Instant::now();
        kill(Pid::from_raw(pid), Signal::SIGKILL)?;
        Ok(())
    }

    /// Fails if the node takes connections.
    pub(crate) async fn assert_away(&self, node: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + GONE_WITHIN;
        while TcpStream::connect(self.address(node)).await.is_ok() {
            ensure!(
                Instant::now() < deadline,
                "node {} was not killed",
                node + 1
            );
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Starts the node on its data; returns when it serves.
    pub(crate) async fn restart(&mut self, node: usize) -> anyhow::Result<()> {
        let started = Command::new(self.scripts.join("start.sh"))
            .arg(&self.directory)
            .env("NODES", Self::NODES.to_string())
            .env("ONLY", (node + 1).to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .await?;
        ensure!(started.success(), "node {} did not start again", node + 1);
        self.outages.push(Outage {
            node: node + 1,
            away: self.killed_at.elapsed(),
            statements: 0,
        });
        Ok(())
    }

    /// What was executed during the last outage.
    pub(super) fn note_statements(&mut self, statements: u64) {
        if let Some(last) = self.outages.last_mut() {
            last.statements = statements;
        }
    }

    pub(super) fn outages(&self) -> Vec<Outage> {
        self.outages.clone()
    }
}
