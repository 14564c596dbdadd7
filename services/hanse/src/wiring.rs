//! How the roles find each other: the one place that knows more than one of them.

use std::sync::Arc;

use anyhow::Context;
use hanse_api::{AdmissionLimits, ApiParts};
use hanse_cluster::grpc::SlotListener;
use hanse_cluster::{Commands, Router};
use hanse_log::{Applier, LogParts, SlotLogs, SlotMap};
use hanse_room::{RoomParts, Rooms, Typing};
use hanse_runtime::admin::AdminCommands;
use hanse_runtime::config::{Config, Durability, Role, StoreEngine};
use hanse_runtime::{Clock, DataDir, Lifecycle, Random, Stage};
use hanse_store::Store;
use hanse_store_embedded::{EmbeddedStore, Options};
use hanse_store_scylla::{ScyllaConfig, ScyllaStore};
use hanse_sync::{SyncClient, SyncParts, SyncWorker, TokenKey};
use hanse_user::{UserConfig, UserParts, Users};

use crate::applier::Domains;
use crate::cluster::Clustered;
use crate::deployment::Deployment;
use crate::exit::Failure;
use crate::operator::Operator;
use crate::plugs::Syncs;
use crate::ready;

/// Rooms whose memory is kept.
const ROOMS_HELD_MAX: u64 = 10_000;

/// What a process gives to its roles.
#[derive(Debug)]
pub(crate) struct Surroundings<'a> {
    pub(crate) config: &'a Config,
    pub(crate) data: &'a DataDir,
    pub(crate) lifecycle: &'a Lifecycle,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

/// What the roles offer to the outside.
pub(crate) struct Wired {
    /// The client API.
    pub(crate) router: axum::Router,
    /// What `hanse admin` can have done.
    pub(crate) admin: Arc<dyn AdminCommands>,
}

/// Opens the store, replays the logs and starts the roles. When it returns, requests can be
/// answered. `others`: where the other processes of a cluster call.
pub(crate) async fn wire(
    surroundings: &Surroundings<'_>,
    others: Option<SlotListener>,
) -> Result<Wired, Failure> {
    let Surroundings { config, random, .. } = surroundings;
    let store = open_store(surroundings).await?;
    let deployment = Deployment::load(&store, random.as_ref(), config).await?;
    let cluster = match others {
        Some(listener) => Some(join(surroundings, &store, listener, deployment.map).await?),
        None => None,
    };
    let logs = open_logs(surroundings, &store, deployment.map, cluster.as_ref()).await?;
    let alone = Router::alone;
    let way = cluster
        .as_ref()
        .map_or_else(alone, |cluster| cluster.router(surroundings, &logs));
    let users = users(surroundings, &store, &logs, &way)?;
    let rooms = rooms(surroundings, &store, &logs, &deployment, &way);
    rooms.carry_device_changes();
    rooms.collect_installations(surroundings.lifecycle.tasks(Stage::Work));
    let domains = DomainHandles {
        typing: cluster.as_ref().map_or_else(
            || Typing::alone(Arc::clone(&surroundings.clock), random.as_ref()),
            |cluster| cluster.typing(surroundings),
        ),
        token_key: TokenKey::new(deployment.token_secret),
        logs,
        users,
        rooms,
    };
    let worker = config
        .server
        .has(Role::Sync)
        .then(|| domains.sync_worker(surroundings));
    let router = domains.api(surroundings, cluster.as_ref(), worker.clone());
    if let Some(cluster) = cluster {
        watch_readiness(surroundings, &cluster, &domains.logs, &store);
        cluster.serve(surroundings, &domains.logs, domains.commands(), worker);
    }
    let admin = Arc::new(Operator {
        users: domains.users,
        mode: config.registration.mode,
    });
    Ok(Wired { router, admin })
}

/// What the roles work on.
struct DomainHandles {
    logs: SlotLogs,
    users: Users,
    rooms: Rooms,
    typing: Typing,
    token_key: TokenKey,
}

impl DomainHandles {
    /// The writes that other processes may have run here.
    fn commands(&self) -> Commands {
        let mut commands = Commands::new();
        self.rooms.offer(&mut commands);
        self.users.offer(&mut commands);
        commands
    }

    fn sync_worker(&self, surroundings: &Surroundings<'_>) -> SyncWorker {
        SyncWorker::start(SyncParts {
            logs: self.logs.clone(),
            rooms: self.rooms.reader().clone(),
            users: self.users.clone(),
            typing: self.typing.clone(),
            clock: Arc::clone(&surroundings.clock),
            tasks: surroundings.lifecycle.tasks(Stage::Front).clone(),
            token_key: self.token_key.clone(),
        })
    }

    /// The client API, or nothing where that is not the role.
    fn api(
        &self,
        surroundings: &Surroundings<'_>,
        cluster: Option<&Clustered>,
        worker: Option<SyncWorker>,
    ) -> axum::Router {
        let map = *self.logs.map();
        let sync = match (cluster, worker) {
            _ if !surroundings.config.server.has(Role::Api) => return axum::Router::new(),
            (None, None) => return axum::Router::new(),
            (None, Some(worker)) => SyncClient::alone(worker),
            (Some(cluster), worker) => {
                cluster.sync_client(surroundings, worker, map, self.token_key.clone())
            }
        };
        hanse_api::router(ApiParts {
            users: self.users.clone(),
            rooms: self.rooms.clone(),
            sync: Arc::new(Syncs(sync)),
            typing: self.typing.clone(),
            tasks: surroundings.lifecycle.tasks(Stage::Work).clone(),
            clock: Arc::clone(&surroundings.clock),
            config: Arc::new(surroundings.config.clone()),
            admission: AdmissionLimits::default(),
        })
    }
}

/// The tables are made before others see this process: that may take a while, and whoever is seen
/// should answer.
async fn join(
    surroundings: &Surroundings<'_>,
    store: &Arc<dyn Store>,
    listener: SlotListener,
    map: SlotMap,
) -> Result<Clustered, Failure> {
    let tables = [hanse_log::tables::all(), Domains.tables()].concat();
    let made = store.create_tables(&tables).await;
    made.context("cannot make the tables")?;
    Clustered::join(surroundings, store, listener, map).await
}

fn watch_readiness(
    surroundings: &Surroundings<'_>,
    cluster: &Clustered,
    logs: &SlotLogs,
    store: &Arc<dyn Store>,
) {
    let server = &surroundings.config.server;
    let front = surroundings.lifecycle.tasks(Stage::Front);
    let part = |name| surroundings.lifecycle.readiness().part(name);
    if server.has(Role::Persister) {
        ready::while_held(front, part("lease"), cluster.membership().lease());
    }
    if server.has(Role::Api) {
        let slots = logs.map().slots().collect();
        let store = Arc::clone(store);
        ready::while_owned(front, part("slot owners"), slots, store, cluster.members());
        ready::while_taken(
            front,
            part("sync workers"),
            hanse_sync::ROLE,
            cluster.members(),
        );
    }
}

async fn open_store(surroundings: &Surroundings<'_>) -> Result<Arc<dyn Store>, Failure> {
    match surroundings.config.store.engine {
        StoreEngine::Embedded => open_embedded(surroundings),
        StoreEngine::Cql => connect_cluster(surroundings).await,
    }
}

fn open_embedded(surroundings: &Surroundings<'_>) -> Result<Arc<dyn Store>, Failure> {
    let clock = Arc::clone(&surroundings.clock);
    let mut options = Options::new(Arc::new(move || clock.now_ms()));
    options.durability = match surroundings.config.data.durability {
        Durability::Fsync => hanse_store_embedded::Durability::Fsync,
        Durability::Os => hanse_store_embedded::Durability::Os,
    };
    let path = surroundings.data.path().join("store");
    Ok(EmbeddedStore::open(path, options).context("cannot open the store")?)
}

async fn connect_cluster(surroundings: &Surroundings<'_>) -> Result<Arc<dyn Store>, Failure> {
    let clock = Arc::clone(&surroundings.clock);
    let settings = &surroundings.config.store;
    let config = ScyllaConfig {
        keyspace: settings.keyspace.clone(),
        replication_factor: settings.replication_factor,
        credentials: settings.credentials(),
        connect_timeout: settings.connect_timeout(),
        request_timeout: settings.request_timeout(),
        ..ScyllaConfig::new(settings.nodes.clone(), Arc::new(move || clock.now_ms()))
    };
    let store = ScyllaStore::connect(config).await;
    let store = store.context("cannot open the store")?;
    tracing::info!(nodes = ?settings.nodes, keyspace = settings.keyspace, server = ?store.dialect(),
        "connected to the CQL cluster");
    Ok(Arc::new(store))
}

async fn open_logs(
    surroundings: &Surroundings<'_>,
    store: &Arc<dyn Store>,
    map: SlotMap,
    cluster: Option<&Clustered>,
) -> Result<SlotLogs, Failure> {
    let alone = || surroundings.random.alphanumeric(8);
    let parts = LogParts {
        store: Arc::clone(store),
        applier: Arc::new(Domains),
        clock: Arc::clone(&surroundings.clock),
        random: Arc::clone(&surroundings.random),
        tasks: surroundings.lifecycle.tasks(Stage::Store).clone(),
        map,
        owner: cluster.map_or_else(alone, |cluster| cluster.id().to_owned()),
        segment_bytes_max: LogParts::SEGMENT_BYTES_MAX,
        consumers: vec![hanse_room::DEVICE_CHANGES],
        cluster: cluster.map(|cluster| cluster.log_parts(surroundings)),
    };
    let failed = "cannot open the slot logs";
    Ok(match cluster {
        Some(_) => SlotLogs::start(parts).await.context(failed)?,
        None => SlotLogs::open(parts).await.context(failed)?,
    })
}

fn users(
    surroundings: &Surroundings<'_>,
    store: &Arc<dyn Store>,
    logs: &SlotLogs,
    way: &Router,
) -> Result<Users, Failure> {
    let Config {
        passwords,
        registration,
        server,
        ..
    } = surroundings.config;
    let tasks = surroundings.lifecycle.tasks(Stage::Work).clone();
    let parts = UserParts {
        store: Arc::clone(store),
        logs: logs.clone(),
        clock: Arc::clone(&surroundings.clock),
        random: Arc::clone(&surroundings.random),
        passwords: tasks.blocking_pool("passwords", passwords.threads, passwords.queue_len_max),
        tasks,
        server_name: server.name.clone(),
        config: UserConfig {
            argon2_memory_kib: passwords.memory_kib,
            argon2_iterations: passwords.iterations,
            password_chars_min: registration.password_chars_min,
            ..UserConfig::default()
        },
        router: way.clone(),
    };
    Ok(Users::new(parts).map_err(anyhow::Error::from)?)
}

fn rooms(
    surroundings: &Surroundings<'_>,
    store: &Arc<dyn Store>,
    logs: &SlotLogs,
    deployment: &Deployment,
    way: &Router,
) -> Rooms {
    Rooms::new(RoomParts {
        store: Arc::clone(store),
        logs: logs.clone(),
        clock: Arc::clone(&surroundings.clock),
        random: Arc::clone(&surroundings.random),
        server_name: surroundings.config.server.name.clone(),
        key: Arc::clone(&deployment.signing_key),
        rooms_held_max: ROOMS_HELD_MAX,
        portion_bytes_max: RoomParts::PORTION_BYTES_MAX,
        router: way.clone(),
    })
}
