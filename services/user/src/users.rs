//! The handle to the user domain.

use std::{fmt, sync::Arc};

use hanse_cluster::Router;
use hanse_log::{AppliedBatch, SlotLogs};
use hanse_runtime::{BlockingPool, Clock, Random, Tasks};
use hanse_store::Store;
use ruma::{OwnedServerName, ServerName, UserId};
use tokio::sync::watch;

use crate::{
    ConfigError, UserConfig,
    archive::Archive,
    devices::LastSeen,
    locks::KeyLocks,
    observing::Observed,
    passwords::Hasher,
    sessions::{TokenCache, Voids},
    to_device::Waiting,
};

/// What [`Users`] is built from.
pub struct UserParts {
    /// The archives.
    pub store: Arc<dyn Store>,
    /// The slots.
    pub logs: SlotLogs,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Tokens, salts, generated names.
    pub random: Arc<dyn Random>,
    /// Where decisions under way live on when their callers go away.
    pub tasks: Tasks,
    /// Where passwords are hashed.
    pub passwords: BlockingPool,
    /// The part after the colon of every user id and alias of ours.
    pub server_name: OwnedServerName,
    /// The settings.
    pub config: UserConfig,
    /// Where users and names are changed that are served elsewhere.
    pub router: Router,
}

/// Users and names, wherever their slots are served. Clones are the same.
#[derive(Clone)]
pub struct Users {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) archive: Archive,
    pub(crate) logs: SlotLogs,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) tasks: Tasks,
    pub(crate) server_name: OwnedServerName,
    pub(crate) config: UserConfig,
    pub(crate) hasher: Hasher,
    pub(crate) cache: Arc<TokenCache>,
    pub(crate) observed: watch::Sender<Observed>,
    pub(crate) router: Router,
    pub(crate) last_seen: LastSeen,
    pub(crate) waiting: Waiting,
    pub(crate) user_locks: KeyLocks,
    pub(crate) name_locks: KeyLocks,
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users")
            .field("server_name", &self.inner.server_name)
            .finish_non_exhaustive()
    }
}

impl Users {
    /// Builds the handle. The tables must exist: [`SlotLogs::open`] and
    /// [`create_tables`](crate::tables) see to that.
    pub fn new(parts: UserParts) -> Result<Self, ConfigError> {
        let hasher = Hasher::new(&parts.config, parts.passwords, Arc::clone(&parts.random))?;
        let inner = Inner {
            archive: Archive::new(parts.store),
            logs: parts.logs,
            clock: parts.clock,
            random: parts.random,
            tasks: parts.tasks,
            server_name: parts.server_name,
            hasher,
            cache: Arc::new(TokenCache::new(parts.config.tokens_cached_max)),
            observed: watch::Sender::default(),
            router: parts.router,
            last_seen: LastSeen::new(),
            waiting: Waiting::new(),
            user_locks: KeyLocks::new(),
            name_locks: KeyLocks::new(),
            config: parts.config,
        };
        inner.start_observing();
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The server name of every user here.
    pub fn server_name(&self) -> &ServerName {
        &self.inner.server_name
    }

    /// Whether a user id is one of this server's (whether or not there is such an account).
    pub fn is_local(&self, user_id: &UserId) -> bool {
        user_id.server_name() == self.inner.server_name
    }

    /// Forgets what a batch made void in memory. To be called for every batch that a
    /// [`hanse_log::Follower`] hands out, where a process is alone and has one; what it decides itself
    /// needs no call, and in a cluster the log is followed here.
    pub fn observe(&self, batch: &AppliedBatch) {
        self.inner.cache.void(&Voids::of(&batch.entries));
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.inner.clock.now_ms()
    }

    pub(crate) fn archive(&self) -> &Archive {
        &self.inner.archive
    }
}
