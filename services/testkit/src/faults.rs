//! Does to a whole cluster under load whatever may happen to one, and looks for what was lost.
//!
//! Real processes (two APIs, three persisters, two sync workers) on CQL and Redis. Users send under
//! transaction ids, one message at a time, the same again until it is answered 200, and sync at the same
//! time, each by way of an API of its choice: one that says it is ready, as a load balancer would choose.
//! Beside them devices upload one-time keys, claim them, and send messages to devices.
//! Meanwhile processes are killed and started again, frozen, drained and added, and Redis loses its memory
//! or its life. At the end everything is read back and checked, and the longest wait in the time of each
//! fault is shown beside its goal.
//!
//! A persister reaches the store by a [`StoreLink`](crate::StoreLink) of its own. Before it is frozen the
//! link is held, so that appends are on the way; they arrive when others serve its slots, and the store must
//! refuse them.

mod chooser;
mod client;
mod deeds;
mod encryption;
mod follower;
mod metrics;
mod schedule;
mod sender;
mod stage;
mod tally;
mod under_way;
mod verdict;

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use futures::future::try_join_all;
use hanse_checkers::{Attempt, Outcome, Timelines};
use hanse_loadtest::{User, http::Connection};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::{sync::watch, task::JoinSet};

use self::{
    chooser::Chooser,
    client::Client,
    deeds::{Deed, Director},
    encryption::{Encrypted, Encryption},
    follower::Follower,
    metrics::Metrics,
    schedule::Fault,
    sender::{Sender, Surroundings},
    stage::{Setup, Stage},
    tally::Tally,
    under_way::UnderWay,
    verdict::Evidence,
};
pub use self::{schedule::Times, verdict::Verdict};
use crate::{
    cql_nodes::cluster::Cluster as CqlCluster,
    kill_loop::{reader::Reader, timeline::whole_room},
};

const PASSWORD: &str = "correct horse battery staple";

/// What to run.
#[derive(Clone, Debug)]
pub struct Faults {
    /// The server.
    pub binary: PathBuf,
    /// Where the processes' data and logs go.
    pub directory: PathBuf,
    /// The CQL server, `host:port`; with `cql_run` the first of three.
    pub cql: String,
    /// Where `deploy/cql/start.sh` put three nodes; one of them is killed, too.
    pub cql_run: Option<PathBuf>,
    /// That script's folder.
    pub scripts: PathBuf,
    /// Into how many slots the cluster is divided.
    pub slots: u32,
    /// Who sends and syncs.
    pub users: usize,
    /// Where to; everybody is in every room.
    pub rooms: usize,
    /// What happens.
    pub programme: Programme,
    /// Decides to whom it happens, when, and in which order.
    pub seed: u64,
    /// Whether faults may stall others for no longer than their goals.
    pub judges_stalls: bool,
    /// Says of a message that was never sent that it was acknowledged: the checks must miss it.
    pub sabotage: bool,
}

/// What happens to the cluster.
#[derive(Clone, Copy, Debug)]
pub enum Programme {
    /// Faults, so often each.
    Faults(Times),
    /// Every process is restarted in order, and no request may fail.
    Rolling,
}

/// Who works, until `stop` says so.
struct Cast {
    senders: JoinSet<anyhow::Result<Sender>>,
    followers: JoinSet<anyhow::Result<Follower>>,
    encryption: Encryption,
    stop_sending: watch::Sender<bool>,
    stop_following: watch::Sender<bool>,
}

impl Faults {
    /// Runs it.
    pub async fn run(&self) -> anyhow::Result<Verdict> {
        let cql = self.cql_run.as_deref();
        let cql = cql
            .map(|run| CqlCluster::of(run, &self.scripts))
            .transpose()?;
        let mut stage = Stage::start(self.setup(cql.as_ref())).await?;
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        let planned = match self.programme {
            Programme::Faults(times) => {
                schedule::order(times, u32::from(cql.is_some()), &mut random)
            }
            Programme::Rolling => schedule::rolling(&stage::PROCESSES),
        };
        let (users, rooms) = self.users_and_rooms(&stage).await?;
        let shared = Arc::new(Surroundings {
            chooser: Chooser::new(stage.apis()),
            rooms,
            under_way: UnderWay::default(),
        });
        let mut watching = JoinSet::new();
        let watched = Arc::clone(&shared);
        watching.spawn(async move { watched.chooser.watch().await });
        let cast = self.cast(&users, &shared, &mut random)?;
        let mut director = Director {
            stage: &mut stage,
            cql,
            shared: &shared,
            random,
            deeds: Vec::new(),
        };
        director.perform(&planned).await?;
        let deeds = director.deeds;
        let evidence = self.settle(stage, cast, &shared, planned, deeds).await?;
        Ok(Verdict::of(&evidence))
    }

    fn setup(&self, cql: Option<&CqlCluster>) -> Setup {
        Setup {
            binary: self.binary.clone(),
            directory: self.directory.clone(),
            cql: cql.map_or_else(|| vec![self.cql.clone()], CqlCluster::nodes),
            slots: self.slots,
        }
    }

    /// Everybody registered, and who sends and syncs in every room.
    async fn users_and_rooms(&self, stage: &Stage) -> anyhow::Result<(Vec<User>, Vec<String>)> {
        let api = *stage.apis().first().context("there is no API")?;
        let everybody = self.users + Encryption::CLIENTS;
        let names = (0..everybody).map(|number| format!("user{number}"));
        let names: Vec<String> = names.collect();
        let register = |name| User::register(Connection::to(api), name, PASSWORD);
        let users = try_join_all(names.iter().map(|name| register(name))).await;
        let mut users = users.context("cannot register")?;
        let mut rooms = Vec::new();
        for number in 0..self.rooms {
            let creator = number % self.users;
            let user = users.get_mut(creator).context("there is no creator")?;
            let room = user.create_room(r#"{"preset":"public_chat"}"#).await;
            let room = room.context("cannot make a room")?;
            let members = users.iter_mut().take(self.users);
            let joins = members.map(|user| user.join(&room));
            try_join_all(joins).await.context("cannot join")?;
            rooms.push(room);
        }
        Ok((users, rooms))
    }

    /// Sets everybody to work.
    fn cast(
        &self,
        users: &[User],
        shared: &Arc<Surroundings>,
        random: &mut ChaCha8Rng,
    ) -> anyhow::Result<Cast> {
        let (stop_sending, sending) = watch::channel(false);
        let (stop_following, following) = watch::channel(false);
        let (mut senders, mut followers) = (JoinSet::new(), JoinSet::new());
        let mut clients = Vec::new();
        for user in users {
            let door = shared.chooser.any(random);
            clients.push(Client::new(user, door, Arc::clone(shared))?);
        }
        let encryption = Encryption::start(clients.split_off(self.users), random);
        for (client, number) in clients.into_iter().zip(1..) {
            let mut reader = Reader::new(client.user.on_another_connection());
            let reading = shared.chooser.any(random);
            reader.move_to(shared.chooser.connection(reading)?)?;
            let follower = Follower::new(reader, reading, Arc::clone(shared));
            followers.spawn(follower.follow(following.clone()));
            let seed = self.seed.wrapping_add(number);
            let random = ChaCha8Rng::seed_from_u64(seed);
            let sender = Sender::new(client, random);
            senders.spawn(sender.work(sending.clone()));
        }
        Ok(Cast {
            senders,
            followers,
            encryption,
            stop_sending,
            stop_following,
        })
    }

    /// Ends the work, reads everything back, and ends the cluster.
    async fn settle(
        &self,
        mut stage: Stage,
        cast: Cast,
        shared: &Surroundings,
        planned: Vec<Fault>,
        deeds: Vec<Deed>,
    ) -> anyhow::Result<Evidence> {
        cast.stop_sending.send_replace(true);
        let senders = cast.senders.join_all().await;
        let mut senders: Vec<Sender> = senders.into_iter().collect::<anyhow::Result<_>>()?;
        cast.stop_following.send_replace(true);
        let followers = cast.followers.join_all().await;
        let followers: Vec<Follower> = followers.into_iter().collect::<anyhow::Result<_>>()?;
        let followers = try_join_all(followers.into_iter().map(Follower::catch_up)).await?;
        stage.whole().await?;
        let encrypted = cast.encryption.settle().await?;
        let user = &mut senders
            .first_mut()
            .context("there is no sender")?
            .client
            .user;
        let mut timelines = Timelines::new();
        for room in &shared.rooms {
            timelines.insert(room.clone(), whole_room(user, room, true).await?);
        }
        let metrics = stage.stop().await?;
        let mut evidence = Evidence {
            planned,
            deeds,
            timelines,
            metrics,
            encrypted,
            ..collected(senders, followers)
        };
        evidence.orderly = matches!(self.programme, Programme::Rolling);
        evidence.judges_stalls = self.judges_stalls;
        if self.sabotage {
            evidence.attempts.extend(never_sent(shared));
        }
        Ok(evidence)
    }
}

/// What clients wrote down.
fn collected(senders: Vec<Sender>, followers: Vec<Follower>) -> Evidence {
    let (mut sends, mut syncs) = (Tally::default(), Tally::default());
    let (mut attempts, mut waits) = (Vec::new(), Vec::new());
    for mut sender in senders {
        sends.add(&sender.client.tally);
        attempts.append(&mut sender.attempts);
        waits.append(&mut sender.waits);
    }
    let mut gaps = 0;
    let mut readers = Vec::new();
    for follower in followers {
        syncs.add(&follower.tally);
        gaps += follower.reader.gaps;
        readers.push((follower.reader.name, follower.reader.pages));
    }
    Evidence {
        planned: Vec::new(),
        deeds: Vec::new(),
        attempts,
        waits,
        sends,
        syncs,
        readers,
        gaps,
        timelines: Timelines::new(),
        metrics: Metrics::default(),
        encrypted: Encrypted::default(),
        orderly: false,
        judges_stalls: true,
    }
}

/// An acknowledgement that nobody gave.
fn never_sent(shared: &Surroundings) -> Option<Attempt> {
    Some(Attempt {
        session: "@nobody:localhost".to_owned(),
        room: shared.rooms.first()?.clone(),
        transaction: "t0".to_owned(),
        mark: "never sent".to_owned(),
        outcome: Outcome::Acknowledged("$never-sent".to_owned()),
    })
}
