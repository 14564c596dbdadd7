//! How the roles find each other: the one place that knows more than one of them.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use axum::Router;
use hanse_api::{AdmissionLimits, ApiParts};
use hanse_log::{LogParts, SlotLogs, SlotMap};
use hanse_room::{RoomParts, Rooms, Typing};
use hanse_runtime::admin::AdminCommands;
use hanse_runtime::config::{Config, Durability, StoreEngine};
use hanse_runtime::{Clock, DataDir, Lifecycle, Random, Stage};
use hanse_store::Store;
use hanse_store_embedded::{EmbeddedStore, Options};
use hanse_store_scylla::{ScyllaConfig, ScyllaStore};
use hanse_sync::{SyncParts, SyncWorker, TokenKey};
use hanse_user::{UserConfig, UserParts, Users};

use crate::applier::Domains;
use crate::exit::Failure;
use crate::operator::Operator;
use crate::plugs::Syncs;
use crate::secrets::Secrets;

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
    pub(crate) router: Router,
    /// What `hanse admin` can have done.
    pub(crate) admin: Arc<dyn AdminCommands>,
}

/// Opens the store, replays the logs and starts the roles. When it returns, requests can be
/// answered.
pub(crate) async fn wire(surroundings: &Surroundings<'_>) -> Result<Wired, Failure> {
    let store = open_store(surroundings).await?;
    let secrets = load_secrets(surroundings, &store).await?;
    let logs = open_logs(surroundings, &store).await?;
    let users = users(surroundings, &store, &logs)?;
    let rooms = rooms(surroundings, &store, &logs, &secrets);
    rooms.carry_device_changes();
    let typing = Typing::new(Arc::clone(&surroundings.clock));
    let sync = SyncWorker::start(SyncParts {
        logs,
        rooms: rooms.reader().clone(),
        users: users.clone(),
        typing: typing.clone(),
        clock: Arc::clone(&surroundings.clock),
        tasks: surroundings.lifecycle.tasks(Stage::Front).clone(),
        token_key: TokenKey::new(secrets.token_secret),
    });
    let mode = surroundings.config.registration.mode;
    let admin = Arc::new(Operator {
        users: users.clone(),
        mode,
    });
    let router = hanse_api::router(ApiParts {
        users,
        rooms,
        sync: Arc::new(Syncs(sync)),
        typing,
        tasks: surroundings.lifecycle.tasks(Stage::Work).clone(),
        clock: Arc::clone(&surroundings.clock),
        config: Arc::new(surroundings.config.clone()),
        admission: AdmissionLimits::default(),
    });
    Ok(Wired { router, admin })
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

/// The deployment's secrets. A cluster does not know which data directory it belongs to, so that it is
/// asked for the server's name, too.
async fn load_secrets(
    surroundings: &Surroundings<'_>,
    store: &Arc<dyn Store>,
) -> Result<Secrets, Failure> {
    let name = &surroundings.config.server.name;
    let secrets = Secrets::load(store, surroundings.random.as_ref(), name).await?;
    if secrets.server_name == *name {
        return Ok(secrets);
    }
    let other = &secrets.server_name;
    let error = anyhow!("the store belongs to the server {other}, and server.name is {name}");
    Err(Failure::Settings(error))
}

async fn open_logs(
    surroundings: &Surroundings<'_>,
    store: &Arc<dyn Store>,
) -> Result<SlotLogs, Failure> {
    let parts = LogParts {
        store: Arc::clone(store),
        applier: Arc::new(Domains),
        clock: Arc::clone(&surroundings.clock),
        random: Arc::clone(&surroundings.random),
        tasks: surroundings.lifecycle.tasks(Stage::Store).clone(),
        map: SlotMap::initial(SlotMap::SLOTS_SINGLE_PROCESS),
        owner: surroundings.random.alphanumeric(8),
        segment_bytes_max: LogParts::SEGMENT_BYTES_MAX,
        consumers: vec![hanse_room::DEVICE_CHANGES],
        cluster: None,
    };
    Ok(SlotLogs::open(parts)
        .await
        .context("cannot open the slot logs")?)
}

fn users(
    surroundings: &Surroundings<'_>,
    store: &Arc<dyn Store>,
    logs: &SlotLogs,
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
    };
    Ok(Users::new(parts).map_err(anyhow::Error::from)?)
}

fn rooms(
    surroundings: &Surroundings<'_>,
    store: &Arc<dyn Store>,
    logs: &SlotLogs,
    secrets: &Secrets,
) -> Rooms {
    Rooms::new(RoomParts {
        store: Arc::clone(store),
        logs: logs.clone(),
        clock: Arc::clone(&surroundings.clock),
        random: Arc::clone(&surroundings.random),
        server_name: surroundings.config.server.name.clone(),
        key: Arc::clone(&secrets.signing_key),
        rooms_held_max: ROOMS_HELD_MAX,
    })
}
