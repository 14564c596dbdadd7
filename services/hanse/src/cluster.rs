//! This process as one of several: its place among them, what it tells them, what it answers.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use hanse_bus_redis::{RedisBus, RedisBusParts, RedisTls};
use hanse_cluster::grpc::{
    Forwarder, ForwarderParts, Peers, Remote, Routes, ServerParts, SlotListener, Tls, TlsFiles,
};
use hanse_cluster::{
    Commands, Keeper, KeeperParts, Member, Membership, MembershipParts, Router, RouterParts, View,
};
use hanse_log::{ClusterParts, SlotLogs, SlotMap};
use hanse_room::Typing;
use hanse_runtime::config::{Bus, Config, Role};
use hanse_runtime::{Lifecycle, Stage};
use hanse_store::Store;
use hanse_sync::{SyncClient, SyncClientParts, SyncServer, SyncWorker, TokenKey};
use tokio::sync::watch;

use crate::exit::Failure;
use crate::wiring::Surroundings;

/// Characters of a process's id, drawn anew at each start.
const ID_CHARS: usize = 12;

/// A member of the cluster that does not answer the others yet.
pub(crate) struct Clustered {
    listener: SlotListener,
    membership: Membership,
    peers: Peers,
    store: Arc<dyn Store>,
    bus: RedisBus,
}

impl Clustered {
    /// Enters the members' table. From here on others may call.
    pub(crate) async fn join(
        surroundings: &Surroundings<'_>,
        store: &Arc<dyn Store>,
        listener: SlotListener,
        map: SlotMap,
    ) -> Result<Self, Failure> {
        let Surroundings {
            config,
            lifecycle,
            clock,
            random,
            ..
        } = surroundings;
        let tasks = lifecycle.tasks(Stage::Cluster);
        let tls = match tls_files(config) {
            Some(files) => Some(Tls::load(files, tasks).await.context("cluster.tls")?),
            None => None,
        };
        let me = Member {
            id: random.alphanumeric(ID_CHARS),
            address: advertised(config, &listener),
            roles: config
                .server
                .roles
                .iter()
                .map(|role| role.name().to_owned())
                .collect(),
            started_at_ms: clock.now_ms(),
            draining: false,
        };
        tracing::info!(member = me.id, address = me.address, roles = ?me.roles, "joins the cluster");
        let parts = MembershipParts {
            store: Arc::clone(store),
            clock: Arc::clone(clock),
            random: Arc::clone(random),
            tasks: tasks.clone(),
            me,
        };
        let membership = Membership::join(parts)
            .await
            .context("cannot join the cluster")?;
        leave_early(lifecycle, &membership);
        Ok(Self {
            listener: listener.with_tls(tls.clone()),
            peers: Peers::new(membership.view(), tls, tasks),
            membership,
            store: Arc::clone(store),
            bus: bus(surroundings, map).await?,
        })
    }

    /// As the slots' owner.
    pub(crate) fn id(&self) -> &str {
        self.membership.id()
    }

    /// This process as a member.
    pub(crate) fn membership(&self) -> &Membership {
        &self.membership
    }

    /// What the logs need of the others.
    pub(crate) fn log_parts(&self, surroundings: &Surroundings<'_>) -> ClusterParts {
        let forwarder = Forwarder::new(ForwarderParts {
            me: self.id().to_owned(),
            peers: self.peers.clone(),
            store: Arc::clone(&self.store),
            clock: Arc::clone(&surroundings.clock),
        });
        ClusterParts {
            bus: Arc::new(self.bus.clone()),
            forward: Arc::new(forwarder),
            lease: self.membership.lease(),
        }
    }

    /// Who types, as all processes tell each other.
    pub(crate) fn typing(&self, surroundings: &Surroundings<'_>) -> Typing {
        let (clock, random) = (Arc::clone(&surroundings.clock), &surroundings.random);
        Typing::shared(clock, random.as_ref(), Arc::new(self.bus.clone()))
    }

    /// The way of writes to whoever serves their slots.
    pub(crate) fn router(&self, surroundings: &Surroundings<'_>, logs: &SlotLogs) -> Router {
        Router::clustered(RouterParts {
            me: self.id().to_owned(),
            peers: self.peers.clone(),
            logs: logs.clone(),
            store: Arc::clone(&self.store),
            clock: Arc::clone(&surroundings.clock),
            random: Arc::clone(&surroundings.random),
        })
    }

    /// `/sync` for the API, by whichever worker.
    pub(crate) fn sync_client(
        &self,
        surroundings: &Surroundings<'_>,
        worker: Option<SyncWorker>,
        map: SlotMap,
        token_key: TokenKey,
    ) -> SyncClient {
        let lifecycle = surroundings.lifecycle;
        let members = self.membership.view();
        SyncClient::clustered(SyncClientParts {
            member: self.id().to_owned(),
            worker,
            peers: self.peers.clone(),
            members,
            map,
            token_key,
            clock: Arc::clone(&surroundings.clock),
            tasks: lifecycle.tasks(Stage::Front).clone(),
        })
    }

    /// Keeps slots, if that is its role, and answers the others.
    pub(crate) fn serve(
        self,
        surroundings: &Surroundings<'_>,
        logs: &SlotLogs,
        commands: Commands,
        worker: Option<SyncWorker>,
    ) {
        let lifecycle = surroundings.lifecycle;
        let keeper = surroundings.config.server.has(Role::Persister);
        let keeper = keeper.then(|| self.keep(surroundings, logs));
        let member = self.id().to_owned();
        let syncs = worker.map(|worker| SyncServer {
            member: member.clone(),
            worker,
            tasks: lifecycle.tasks(Stage::Front).clone(),
        });
        let server = ServerParts {
            member,
            logs: logs.clone(),
            keeper,
            commands,
            store: self.store,
            clock: Arc::clone(&surroundings.clock),
            tasks: lifecycle.tasks(Stage::Cluster).clone(),
        };
        server.serve(
            self.listener,
            syncs.map_or_else(Routes::default, SyncServer::routes),
        );
    }

    fn keep(&self, surroundings: &Surroundings<'_>, logs: &SlotLogs) -> Keeper {
        Keeper::start(KeeperParts {
            slots: Arc::new(logs.clone()),
            membership: self.membership.clone(),
            hand_over: Arc::new(Remote::new(self.peers.clone())),
            clock: Arc::clone(&surroundings.clock),
            random: Arc::clone(&surroundings.random),
            tasks: surroundings.lifecycle.tasks(Stage::Work).clone(),
            stay: KeeperParts::STAY,
        })
    }

    /// Who lives.
    pub(crate) fn members(&self) -> watch::Receiver<View> {
        self.membership.view()
    }
}

async fn bus(surroundings: &Surroundings<'_>, map: SlotMap) -> Result<RedisBus, Failure> {
    let settings = &surroundings.config.bus;
    let bus = RedisBus::start(RedisBusParts {
        urls: settings.redis.clone(),
        tls: bus_certificates(settings).await?,
        deployment: settings.deployment.clone(),
        map,
        random: Arc::clone(&surroundings.random),
        tasks: surroundings.lifecycle.tasks(Stage::Store).clone(),
    });
    Ok(bus.context("bus.redis")?)
}

async fn bus_certificates(settings: &Bus) -> Result<RedisTls, Failure> {
    let own = match (&settings.tls_cert, &settings.tls_key) {
        (Some(cert), Some(key)) => Some((read(cert).await?, read(key).await?)),
        _ => None,
    };
    let ca = match &settings.tls_ca {
        Some(ca) => Some(read(ca).await?),
        None => None,
    };
    Ok(RedisTls { ca, own })
}

async fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let content = tokio::fs::read(path).await;
    Ok(content.with_context(|| format!("cannot read {}", path.display()))?)
}

/// The certificates, if the configuration names any; its check sees that it names all of them.
fn tls_files(config: &Config) -> Option<TlsFiles> {
    let cluster = &config.cluster;
    Some(TlsFiles {
        ca: cluster.tls_ca.clone()?,
        cert: cluster.tls_cert.clone()?,
        key: cluster.tls_key.clone()?,
        name: cluster.tls_name.clone(),
    })
}

fn advertised(config: &Config, listener: &SlotListener) -> String {
    let bound = || listener.address().to_string();
    config.cluster.advertise.clone().unwrap_or_else(bound)
}

/// Tells the others with the first step of the drain that this process takes nothing new, so that
/// its users' next requests go elsewhere.
fn leave_early(lifecycle: &Lifecycle, membership: &Membership) {
    let front = lifecycle.tasks(Stage::Front);
    let (soft, membership) = (front.soft().clone(), membership.clone());
    front.spawn("member-drain", async move {
        soft.cancelled().await;
        membership.drain();
    });
}
