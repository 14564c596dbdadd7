//! Users and rooms of a run, made before anything is measured.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    net::SocketAddr,
};

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};

use crate::{Refused, Report, Usage, User, Watched, http::Connection};

/// Requests at once while a world is made.
const SETUP_AT_ONCE: usize = 8;

/// The server of a run.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it listens; users are spread over all of these.
    pub addresses: Vec<SocketAddr>,
    /// Its processes on this machine whose use shall be measured, by name.
    pub processes: Vec<(String, Watched)>,
    /// Part of every name that the run makes, so that runs on one server do not meet.
    pub tag: String,
}

impl Target {
    /// A target with a tag of its own.
    pub fn new(addresses: Vec<SocketAddr>, processes: Vec<(String, Watched)>) -> Self {
        // Seeded by the system, which is all that is needed of it.
        let tag = RandomState::new().build_hasher().finish() >> 32;
        Self {
            addresses,
            processes,
            tag: format!("lt{tag:08x}"),
        }
    }

    /// A connection for the user of this number.
    pub(crate) fn connection(&self, number: usize) -> anyhow::Result<Connection> {
        let mut addresses = self.addresses.iter().cycle();
        let address = addresses.nth(number % self.addresses.len().max(1));
        Ok(Connection::to(*address.context("no server")?))
    }

    /// What this process and the server's have used so far.
    pub(crate) fn look(&self) -> anyhow::Result<Look> {
        let used = |(name, process): &(String, Watched)| Ok((name.clone(), process.usage()?));
        Ok(Look {
            own: Watched::own().usage()?,
            servers: self
                .processes
                .iter()
                .map(used)
                .collect::<anyhow::Result<_>>()?,
        })
    }
}

/// A look at all processes.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    own: Usage,
    servers: Vec<(String, Usage)>,
}

impl Look {
    /// Adds what each used from this look to a later one.
    pub(crate) fn report(&self, later: &Self, seconds: f64, messages: u64, report: &mut Report) {
        for ((name, before), (_, after)) in self.servers.iter().zip(&later.servers) {
            report.usage(name, before, after, seconds, messages);
        }
        report.usage("load test", &self.own, &later.own, seconds, messages);
    }
}

/// Users that were registered for a run.
#[derive(Debug)]
pub struct World {
    /// All of them, by number.
    pub users: Vec<User>,
}

impl World {
    /// Registers this many users.
    pub async fn of(target: &Target, users: usize) -> anyhow::Result<Self> {
        let registered = stream::iter(0..users)
            .map(async |number| Ok(register(target, target.connection(number)?, number).await?))
            .buffered(SETUP_AT_ONCE);
        let users: anyhow::Result<_> = registered.try_collect().await;
        Ok(Self {
            users: users.context("cannot register (is registration open, without rate limits?)")?,
        })
    }

    /// Makes a public room of `creator`, and lets the members in. Users are given by number.
    pub async fn room(
        &mut self,
        creator: usize,
        members: impl Fn(usize) -> bool,
    ) -> anyhow::Result<String> {
        let user = self.users.get_mut(creator).context("no such user")?;
        let room = user.create_room(PUBLIC_ROOM).await;
        let room = room.context("cannot create a room")?;
        let others = self.users.iter_mut().enumerate();
        let others = others.filter(|(number, _)| *number != creator && members(*number));
        stream::iter(others.map(|(_, user)| user.join(&room)))
            .buffer_unordered(SETUP_AT_ONCE)
            .try_collect::<()>()
            .await
            .context("cannot join")?;
        Ok(room)
    }
}

/// The body of a room that everybody may join.
pub(crate) const PUBLIC_ROOM: &str = r#"{"preset":"public_chat"}"#;

/// Registers the user of this number.
pub(crate) async fn register(
    target: &Target,
    connection: Connection,
    number: usize,
) -> Result<User, Refused> {
    let localpart = format!("{}-{number}", target.tag);
    User::register(connection, &localpart, PASSWORD).await
}

/// Long enough for every server's policy.
pub(crate) const PASSWORD: &str = "correct horse battery staple";
