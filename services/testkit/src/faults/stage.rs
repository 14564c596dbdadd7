//! The cluster that things happen to.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, ensure};
use rand::{Rng, seq::IndexedRandom};
use tokio::time::{Instant, sleep};

use super::{metrics::Metrics, schedule::Role};
use crate::{LocalCluster, Node, NodePlan, Plan, StoreLink};

/// How long the cluster may take to be whole again.
const WHOLE_WITHIN: Duration = Duration::from_mins(2);
/// Between two looks at it.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What each process serves, as it says.
const SLOTS_SERVED: &str = "hanse_cluster_slots_served";
/// A drained API answers on for so long after `/ready` said no; the clients' chooser asks more often.
const SETTINGS: &str = "[drain]\nreadiness_delay_ms = 500\n";
/// What there is at first.
pub(super) const PROCESSES: [(Role, usize); 3] =
    [(Role::Persister, 3), (Role::Api, 2), (Role::Sync, 2)];

/// How it is set up.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) binary: PathBuf,
    pub(super) directory: PathBuf,
    pub(super) cql: Vec<String>,
    pub(super) slots: u32,
}

/// Processes, with a link of its own to the store for each persister.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) cluster: LocalCluster,
    setup: Setup,
    links: BTreeMap<String, StoreLink>,
    /// What those counted that are gone.
    counted: Metrics,
}

impl Stage {
    /// Starts everything, and returns when it is whole.
    pub(super) async fn start(setup: Setup) -> anyhow::Result<Self> {
        let plan = Plan {
            binary: setup.binary.clone(),
            directory: setup.directory.clone(),
            cql: setup.cql.clone(),
            // A run never meets the data of another.
            keyspace: format!("faults_{}", std::process::id()),
            slots: setup.slots,
            settings: SETTINGS.to_owned(),
            nodes: Vec::new(),
        };
        let mut stage = Self {
            cluster: LocalCluster::spawn(plan).await?,
            setup,
            links: BTreeMap::new(),
            counted: Metrics::default(),
        };
        for (role, count) in PROCESSES {
            for _ in 0..count {
                stage.add(role).await?;
            }
        }
        for node in &mut stage.cluster.nodes {
            node.ready().await?;
        }
        stage.whole().await?;
        Ok(stage)
    }

    /// Starts another process of this role; gives its name.
    pub(super) async fn add(&mut self, role: Role) -> anyhow::Result<String> {
        let name = format!("{}{}", role.name(), self.nodes_of(role).count() + 1);
        let mut cql = None;
        if role == Role::Persister {
            let link = StoreLink::to(&self.setup.cql).await?;
            cql = Some(link.nodes().to_vec());
            self.links.insert(name.clone(), link);
        }
        let roles = role.name().to_owned();
        let plan = NodePlan {
            name: name.clone(),
            roles,
            cql,
        };
        self.cluster.add(plan)?;
        Ok(name)
    }

    fn nodes_of(&self, role: Role) -> impl Iterator<Item = &Node> {
        let nodes = self.cluster.nodes.iter();
        nodes.filter(move |node| node.plan.roles == role.name())
    }

    /// Those of this role that run.
    pub(super) fn running(&self, role: Role) -> Vec<String> {
        let running = self
            .nodes_of(role)
            .filter(|node| node.process.pid().is_some());
        running.map(|node| node.plan.name.clone()).collect()
    }

    pub(super) fn any(&self, role: Role, random: &mut impl Rng) -> anyhow::Result<String> {
        let running = self.running(role);
        let chosen = running.choose(random).cloned();
        chosen.with_context(|| format!("no {} runs", role.name()))
    }

    pub(super) fn node(&mut self, name: &str) -> anyhow::Result<&mut Node> {
        self.cluster.node(name)
    }

    pub(super) fn link(&self, name: &str) -> anyhow::Result<&StoreLink> {
        self.links.get(name).context("it has no link of its own")
    }

    pub(super) fn apis(&self) -> Vec<SocketAddr> {
        let apis = self.nodes_of(Role::Api);
        apis.map(|node| node.process.address()).collect()
    }

    /// Returns when every process that should run is ready, and every slot is served once.
    pub(super) async fn whole(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let missing = self.missing().await?;
            let Some(missing) = missing else {
                return Ok(());
            };
            ensure!(begun.elapsed() < WHOLE_WITHIN, "never: {missing}");
            sleep(LOOK_EVERY).await;
        }
    }

    /// What is missing yet.
    async fn missing(&mut self) -> anyhow::Result<Option<String>> {
        let mut served = 0;
        for node in &mut self.cluster.nodes {
            if node.process.pid().is_none() {
                continue;
            }
            let (name, log) = (&node.plan.name, node.process.log_tail());
            ensure!(
                !node.process.has_ended()?,
                "{name} has ended by itself: {log}"
            );
            if !node.process.is_ready().await {
                return Ok(Some(format!("{name} is not ready")));
            }
            let metrics = Metrics::of(node.process.address()).await;
            served += metrics.unwrap_or_default().value(SLOTS_SERVED);
        }
        let all = u64::from(self.setup.slots);
        Ok((served != all).then(|| format!("{served} of {all} slots are served")))
    }

    /// What a process counted so far.
    pub(super) async fn metrics(&mut self, name: &str) -> anyhow::Result<Metrics> {
        let address = self.node(name)?.process.address();
        let metrics = Metrics::of(address).await;
        metrics.with_context(|| format!("{name} tells nothing"))
    }

    /// Keeps what a process counted that is about to go.
    pub(super) async fn keep_counts(&mut self, name: &str) -> anyhow::Result<()> {
        let metrics = self.metrics(name).await?;
        self.counted.add(&metrics);
        Ok(())
    }

    /// Ends it in order, and gives what all processes counted.
    pub(super) async fn stop(mut self) -> anyhow::Result<Metrics> {
        for role in Role::ALL {
            for name in self.running(role) {
                self.keep_counts(&name).await?;
            }
        }
        self.cluster.stop().await?;
        Ok(self.counted)
    }
}
