//! The bus as the rest of the process sees it.

use std::{fmt, sync::Arc};

use hanse_log::{Bus, EphemeralBus, Heard, Notice, SlotMap};
use hanse_proto::bus::Ephemeral;
use hanse_runtime::{Random, Tasks};
use redis::RedisError;
use tokio::sync::mpsc;

use crate::{
    backoff::Backoff,
    channels::Channels,
    fanout::Fanout,
    link::Servers,
    listener::Listener,
    tls::RedisTls,
    wire::{self, Carried},
    writer::{Outgoing, QUEUE_LEN_MAX, Writer, count_dropped},
};

/// What the bus is built from.
#[derive(Debug)]
pub struct RedisBusParts {
    /// The server's URL, or those of some nodes of one cluster.
    pub urls: Vec<String>,
    /// Certificates, where the URLs are `rediss`.
    pub tls: RedisTls,
    /// Which of the deployments that share the server this is: letters, digits, `-`, `.` and `_`.
    pub deployment: String,
    /// Which slots there are.
    pub map: SlotMap,
    /// Jitter.
    pub random: Arc<dyn Random>,
    /// Where the bus's three tasks run.
    pub tasks: Tasks,
}

/// Why there is no bus. A server that cannot be reached is no reason: the bus waits for it.
#[derive(Debug, thiserror::Error)]
pub enum RedisBusError {
    /// A URL or a certificate does not read.
    #[error("the URL of the Redis server, or a certificate, is not valid")]
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
    fanout: Arc<Fanout<Notice>>,
    ephemeral: Arc<Fanout<Ephemeral>>,
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
    /// connection to publish on, one to listen on while anybody subscribes, and one while anybody
    /// listens to what is ephemeral, so that a flood of it cuts no slot's notices.
    pub fn start(parts: RedisBusParts) -> Result<Self, RedisBusError> {
        let RedisBusParts {
            urls,
            tls,
            deployment,
            map,
            random,
            tasks,
        } = parts;
        if urls.is_empty() {
            return Err(RedisBusError::NoUrl);
        }
        let servers = Arc::new(Servers::parse(&urls, &tls).map_err(RedisBusError::Url)?);
        let channels =
            Channels::new(&deployment, map).ok_or(RedisBusError::Deployment(deployment))?;
        let (queue, waiting) = mpsc::channel(QUEUE_LEN_MAX);
        let bus = Self {
            fanout: Arc::new(Fanout::new(channels.clone())),
            ephemeral: Arc::new(Fanout::new(channels.clone())),
            channels,
            queue,
        };
        let writer = Writer {
            servers: Arc::clone(&servers),
            queue: waiting,
            backoff: Backoff::new(Arc::clone(&random)),
            soft: tasks.soft().clone(),
        };
        tasks.spawn("bus-writer", writer.run());
        listen_for(&bus.fanout, &servers, &random, &tasks);
        listen_for(&bus.ephemeral, &servers, &random, &tasks);
        Ok(bus)
    }
}

fn listen_for<C: Carried>(
    fanout: &Arc<Fanout<C>>,
    servers: &Arc<Servers>,
    random: &Arc<dyn Random>,
    tasks: &Tasks,
) {
    let listener = Listener {
        servers: Arc::clone(servers),
        fanout: Arc::clone(fanout),
        backoff: Backoff::new(Arc::clone(random)),
        soft: tasks.soft().clone(),
    };
    tasks.spawn("bus-listener", listener.run());
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

impl EphemeralBus for RedisBus {
    fn tell(&self, message: Ephemeral) {
        let channel = self.channels.ephemeral();
        let Some(body) = wire::encode_ephemeral(message) else {
            return count_dropped("too_large", 1);
        };
        // The other half of the queue is for notices: theirs cost somebody a read when they are lost.
        let has_room = self.queue.capacity() > QUEUE_LEN_MAX / 2;
        if !has_room || self.queue.try_send(Outgoing { channel, body }).is_err() {
            count_dropped("queue_full", 1);
        }
    }

    fn listen(&self) -> mpsc::Receiver<Heard<Ephemeral>> {
        self.ephemeral.subscribe()
    }
}
