//! A room with many members: how long they take to join, and what a send into it costs.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    Credentials, Latency, Report, Target, User,
    http::Connection,
    metrics::Counters,
    report::count_f64,
    send::Send,
    world::{self, PUBLIC_ROOM},
};

/// What to run.
#[derive(Clone, Debug)]
pub struct BigRoom {
    /// How many join.
    pub members: usize,
    /// How many register or join at the same time.
    pub lanes: usize,
    /// How many then send into the room at the same time.
    pub senders: usize,
    /// How long they send.
    pub measured: Duration,
    /// Prefixes of the server's counters to report for each join and each message.
    pub counters: Vec<String>,
}

/// A connection and the users who take turns on it.
pub(crate) type Lane = (Connection, Vec<Credentials>);

impl BigRoom {
    /// Runs it.
    pub async fn run(&self, target: &Target) -> anyhow::Result<Report> {
        anyhow::ensure!(self.lanes > 0, "nobody registers");
        let start = Instant::now();
        let lanes = self.register(target).await.context("cannot register")?;
        let registering = start.elapsed().as_secs_f64();
        let creator = target.connection(self.members)?;
        let mut creator = world::register(target, creator, self.members).await?;
        let room = creator.create_room(PUBLIC_ROOM).await?;
        let mut report = Report::of(format!("big room: {} joins into {room}", self.members));
        report.add("registering", registering, "s");
        let lanes = self.join(target, lanes, &room, &mut report).await?;
        let users = self.senders(target, lanes, creator)?;
        Self::initial_sync(target, &users, &mut report).await?;
        let sending = Send {
            senders: users.len(),
            rooms: 1,
            measured: self.measured,
            warm_up: Duration::from_secs(1),
            text_bytes: 40,
            counters: self.counters.clone(),
        };
        sending
            .measure(target, users, vec![room], &mut report)
            .await?;
        Ok(report)
    }

    async fn register(&self, target: &Target) -> anyhow::Result<Vec<Lane>> {
        let mut lanes = JoinSet::new();
        for lane in 0..self.lanes {
            let numbers = (lane..self.members).step_by(self.lanes);
            lanes.spawn(register_all(target.clone(), lane, numbers));
        }
        lanes.join_all().await.into_iter().collect()
    }

    async fn join(
        &self,
        target: &Target,
        lanes: Vec<Lane>,
        room: &str,
        report: &mut Report,
    ) -> anyhow::Result<Vec<Lane>> {
        let (before, counted) = (target.look()?, Counters::of(target).await);
        let (start, room) = (Instant::now(), Arc::<str>::from(room));
        let mut joining = JoinSet::new();
        for lane in lanes {
            joining.spawn(join_all(lane, Arc::clone(&room)));
        }
        let (mut latency, mut lanes) = (Latency::new()?, Vec::new());
        for joined in joining.join_all().await {
            let (lane, joins) = joined.context("cannot join")?;
            latency.merge(&joins)?;
            lanes.push(lane);
        }
        let seconds = start.elapsed().as_secs_f64();
        let mut joins = Report::of("joins");
        joins.add("joining", seconds, "s");
        joins.add("rate", count_f64(latency.count()) / seconds, "/s");
        joins.latency("join", &latency);
        before.report(&target.look()?, seconds, latency.count(), &mut joins);
        let counters = Counters::of(target).await;
        counted.report(&counters, &self.counters, latency.count(), &mut joins);
        report.include("joining: ", joins);
        Ok(lanes)
    }

    fn senders(
        &self,
        target: &Target,
        lanes: Vec<Lane>,
        creator: User,
    ) -> anyhow::Result<Vec<User>> {
        let members = lanes.into_iter().flat_map(|(_, members)| members);
        let mut users = vec![creator];
        for (number, credentials) in (1..self.senders).zip(members) {
            users.push(User::resume(target.connection(number)?, credentials)?);
        }
        Ok(users)
    }

    /// What opening the room costs somebody who was away.
    async fn initial_sync(
        target: &Target,
        users: &[User],
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let credentials = users.last().context("nobody is in the room")?.credentials();
        let mut user = User::resume(target.connection(0)?, credentials.clone())?;
        for (name, filter) in [
            (
                "initial sync, lazy members",
                r#"{"room":{"state":{"lazy_load_members":true}}}"#,
            ),
            ("initial sync, all members", "{}"),
        ] {
            let start = Instant::now();
            let answer = user.sync(None, Duration::ZERO, filter).await?;
            report.add(name, start.elapsed().as_secs_f64() * 1_000.0, "ms");
            report.count(format!("{name}, size"), answer.body.len() as u64, "bytes");
        }
        Ok(())
    }
}

pub(crate) async fn register_all(
    target: Target,
    lane: usize,
    numbers: impl Iterator<Item = usize>,
) -> anyhow::Result<Lane> {
    let (mut connection, mut members) = (target.connection(lane)?, Vec::new());
    for number in numbers {
        let user = world::register(&target, connection, number).await?;
        let credentials;
        (connection, credentials) = user.into_parts();
        members.push(credentials);
    }
    Ok((connection, members))
}

pub(crate) async fn join_all(lane: Lane, room: Arc<str>) -> anyhow::Result<(Lane, Latency)> {
    let (mut connection, members) = lane;
    let mut latency = Latency::new()?;
    for credentials in &members {
        let mut user = User::resume(connection, credentials.clone())?;
        let start = Instant::now();
        user.join(&room).await?;
        latency.record(start.elapsed());
        (connection, _) = user.into_parts();
    }
    Ok(((connection, members), latency))
}
