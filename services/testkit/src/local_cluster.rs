//! A whole cluster on this machine: Redis and processes with roles, on a CQL server.

mod cql;

use std::{
    fmt::Write,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, ensure};

pub use self::cql::CqlNode;
use crate::{HanseProcess, RedisServer, process::free_port};

/// How long the first start may take: the tables are made, one after the other.
const READY_WITHIN: Duration = Duration::from_mins(5);

/// What to start.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server.
    pub binary: PathBuf,
    /// Where data and logs go.
    pub directory: PathBuf,
    /// The CQL servers, each `host:port`; each has everything.
    pub cql: Vec<String>,
    /// The keyspace in it.
    pub keyspace: String,
    /// Into how many slots it is divided.
    pub slots: u32,
    /// Further settings of every process, in sections of their own.
    pub settings: String,
    /// The processes.
    pub nodes: Vec<NodePlan>,
}

/// One process.
#[derive(Clone, Debug)]
pub struct NodePlan {
    /// Of its directory below the plan's.
    pub name: String,
    /// Its roles, separated by commas.
    pub roles: String,
    /// Its own way to the CQL servers, where that is not the plan's.
    pub cql: Option<Vec<String>>,
}

/// A cluster that runs. Everything ends with this value.
#[derive(Debug)]
pub struct LocalCluster {
    plan: Plan,
    /// The bus.
    pub redis: RedisServer,
    /// The processes, in the plan's order.
    pub nodes: Vec<Node>,
}

/// One process of it.
#[derive(Debug)]
pub struct Node {
    /// What it is.
    pub plan: NodePlan,
    /// Where the others call it.
    pub internal: SocketAddr,
    /// The server.
    pub process: HanseProcess,
}

impl LocalCluster {
    /// Starts Redis and every process at once, and waits until all are ready.
    pub async fn start(plan: Plan) -> anyhow::Result<Self> {
        let mut cluster = Self::spawn(plan).await?;
        for node in &mut cluster.nodes {
            node.ready().await?;
        }
        Ok(cluster)
    }

    /// The same without waiting.
    pub async fn spawn(plan: Plan) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&plan.directory)?;
        let redis = RedisServer::start(&plan.directory).await?;
        let nodes = plan.nodes.clone();
        let mut cluster = Self {
            plan,
            redis,
            nodes: Vec::new(),
        };
        for node in nodes {
            cluster.add(node)?;
        }
        Ok(cluster)
    }

    /// Starts another process.
    pub fn add(&mut self, node: NodePlan) -> anyhow::Result<&mut Node> {
        let mut node = Node::new(&self.plan, &self.redis, node)?;
        node.process.spawn()?;
        self.nodes.push(node);
        self.nodes.last_mut().context("it was added")
    }

    /// A process by its name.
    pub fn node(&mut self, name: &str) -> anyhow::Result<&mut Node> {
        let mut nodes = self.nodes.iter_mut();
        let node = nodes.find(|node| node.plan.name == name);
        node.with_context(|| format!("there is no {name}"))
    }

    /// Drains every process that runs, all at once, and fails if one does not end in order.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let running = self
            .nodes
            .iter_mut()
            .filter(|node| node.process.pid().is_some());
        let mut running: Vec<&mut Node> = running.collect();
        for node in &running {
            node.process.terminate()?;
        }
        for node in &mut running {
            node.ended_in_order().await?;
        }
        Ok(())
    }
}

impl Node {
    fn new(plan: &Plan, redis: &RedisServer, node: NodePlan) -> anyhow::Result<Self> {
        let internal = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let settings = settings(plan, redis, &node, internal)?;
        let directory = plan.directory.join(&node.name);
        let process = HanseProcess::with_settings(plan.binary.clone(), &directory, &settings)?;
        Ok(Self {
            plan: node,
            internal,
            process,
        })
    }

    /// Returns once it wants traffic.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        let name = &self.plan.name;
        let ready = self.process.ready(READY_WITHIN).await;
        ready.with_context(|| name.clone())
    }

    /// Waits for the end of its drain, which must be orderly.
    pub async fn ended_in_order(&mut self) -> anyhow::Result<()> {
        let status = self.process.ended().await?;
        let (name, log) = (&self.plan.name, self.process.log_tail());
        ensure!(status.success(), "{name} ended with {status}: {log}");
        Ok(())
    }
}

fn settings(
    plan: &Plan,
    redis: &RedisServer,
    node: &NodePlan,
    internal: SocketAddr,
) -> anyhow::Result<String> {
    let roles: Vec<&str> = node.roles.split(',').map(str::trim).collect();
    let (keyspace, slots, replicas) = (&plan.keyspace, plan.slots, plan.cql.len());
    let cql = node.cql.as_ref().unwrap_or(&plan.cql);
    let mut toml = String::new();
    writeln!(toml, "[server]\nroles = {roles:?}")?;
    writeln!(toml, "[cluster]\nlisten = \"{internal}\"\nslots = {slots}")?;
    writeln!(
        toml,
        "[bus]\nredis = [{:?}]\ndeployment = {keyspace:?}",
        redis.url()
    )?;
    writeln!(toml, "[store]\nengine = \"cql\"\nnodes = {cql:?}")?;
    writeln!(
        toml,
        "keyspace = {keyspace:?}\nreplication_factor = {replicas}"
    )?;
    toml.push_str(&plan.settings);
    Ok(toml)
}

/// A path as text.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
