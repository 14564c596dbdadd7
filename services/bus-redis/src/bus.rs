//! The bus as the rest of the process sees it.

use std::{fmt, sync::Arc};

use hanse_log::{Bus, Heard, Notice, SlotMap};
use hanse_runtime::{Random, Tasks};
use redis::RedisError;
use tokio::sync::mpsc;

use crate::{
    backoff::Backoff,
    channels::Channels,
    fanout::Fanout,
    link::Servers,
    listener::Listener,
    wire,
    writer::{Outgoing, QUEUE_LEN_MAX, Writer, count_dropped},
};

/// What the bus is built from.
#[derive(Debug)]
pub struct RedisBusParts {
    /// The server's URL, or those of some nodes of one cluster.
    pub urls: Vec<String>,
    /// Which of the deployments that share the server this is: letters, digits, `-`, `.` and `_`.
    pub deployment: String,
    /// Which slots there are.
    pub map: SlotMap,
    /// Jitter.
    pub random: Arc<dyn Random>,
    /// Where the bus's two tasks run.
    pub tasks: Tasks,
}

/// Why there is no bus. A server that cannot be reached is no reason: the bus waits for it.
#[derive(Debug, thiserror::Error)]
pub enum RedisBusError {
    /// A URL does not read.
    #[error("the URL of the Redis server is not valid")]
    Url(#[source] RedisError),
    /// No URL was given.
    #[error("no URL of a Redis server is given")]
    NoUrl,
    /// The deployment's name has other characters, or is too long.
    #[error("{0:?} is no name for a deployment")]
    Deployment(String),
}

/// A bus over Redis pub/sub. Clones are the same bus.
#[derive(Clone)]
pub struct RedisBus {
    channels: Channels,
    queue: mpsc::Sender<Outgoing>,
    fanout: Arc<Fanout>,
}

impl fmt::Debug for RedisBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBus")
            .field("channels", &self.channels)
            .finish_non_exhaustive()
    }
}

impl RedisBus {
    /// Starts the bus. It connects by itself, now and whenever the connection is lost: one
    /// connection to publish on, and one to listen on while anybody subscribes.
    pub fn start(parts: RedisBusParts) -> Result<Self, RedisBusError> {
        if parts.urls.is_empty() {
            return Err(RedisBusError::NoUrl);
        }
        let servers = Servers::parse(&parts.urls).map_err(RedisBusError::Url)?;
        let channels = Channels::new(&parts.deployment, parts.map)
            .ok_or(RedisBusError::Deployment(parts.deployment))?;
        let servers = Arc::new(servers);
        let (queue, waiting) = mpsc::channel(QUEUE_LEN_MAX);
        let bus = Self {
            fanout: Arc::new(Fanout::new(channels.clone())),
            channels: channels.clone(),
            queue,
        };
        let writer = Writer {
            servers: Arc::clone(&servers),
            queue: waiting,
            backoff: Backoff::new(Arc::clone(&parts.random)),
            soft: parts.tasks.soft().clone(),
        };
        let listener = Listener {
            servers,
            channels,
            fanout: Arc::clone(&bus.fanout),
            backoff: Backoff::new(parts.random),
            soft: parts.tasks.soft().clone(),
        };
        parts.tasks.spawn("bus-writer", writer.run());
        parts.tasks.spawn("bus-listener", listener.run());
        Ok(bus)
    }
}

impl Bus for RedisBus {
    fn publish(&self, notice: Notice) {
        let message = Outgoing {
            channel: self.channels.name(notice.slot),
            body: wire::encode(notice),
        };
        if self.queue.try_send(message).is_err() {
            count_dropped("queue_full", 1);
        }
    }

    fn subscribe(&self) -> mpsc::Receiver<Heard> {
        self.fanout.subscribe()
    }
}
