//! A user who is in many rooms logs in on a new device: what it costs them, and whom it keeps waiting.

use std::time::Duration;

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use memchr::memmem;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{ENCRYPTED_ROOM, FILTER, upload_keys};
use crate::{
    Latency, Report, Target, User, World, deliver::token, metrics::Counters, world::PASSWORD,
};

/// Requests at once while rooms are made.
const AT_ONCE: usize = 8;
/// How long somebody waits to be told of the new device.
const TOLD_WITHIN: Duration = Duration::from_mins(1);
/// How long bystanders are measured before the login.
const BEFORE: Duration = Duration::from_secs(3);
/// Between two syncs of a bystander.
const PAUSE: Duration = Duration::from_millis(20);

/// What to run.
#[derive(Clone, Debug)]
pub struct NewDevice {
    /// How many rooms the user is in.
    pub rooms: usize,
    /// Others who wait in /sync, each in an equal part of the rooms.
    pub waiting: usize,
    /// Prefixes of the server's counters to report.
    pub counters: Vec<String>,
}

impl NewDevice {
    /// Runs it.
    pub async fn run(&self, target: &Target) -> anyhow::Result<Report> {
        anyhow::ensure!(self.waiting > 0, "nobody waits");
        // Those who wait, the user, and somebody whom it does not concern.
        let mut users = World::of(target, self.waiting + 2).await?.users;
        let bystander = users.pop().context("no bystander")?;
        let mut user = users.pop().context("no user")?;
        upload_keys(&mut user).await?;
        let share = self.rooms.div_ceil(self.waiting);
        let parts = stream::iter(users.iter_mut().enumerate().map(|(number, other)| {
            let count = share.min(self.rooms.saturating_sub(number * share));
            rooms_of(other, count)
        }));
        let rooms: Vec<Vec<String>> = parts.buffer_unordered(AT_ONCE).try_collect().await?;
        for room in rooms.iter().flatten() {
            user.join(room).await?;
        }
        let title = format!("a user in {} rooms logs in", self.rooms);
        let mut report = Report::of(title);
        self.measure(target, (user, users, bystander), &mut report)
            .await?;
        Ok(report)
    }

    async fn measure(
        &self,
        target: &Target,
        (user, others, bystander): (User, Vec<User>, User),
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let who = user.credentials().user_id.clone();
        let (done, until) = tokio::sync::watch::channel(false);
        let mut bystanders = JoinSet::new();
        let quiet = stand_by(bystander.on_another_connection(), until.clone());
        bystanders.spawn(quiet);
        tokio::time::sleep(BEFORE).await;
        done.send_replace(true);
        let quiet = bystanders.join_next().await.context("no bystander")???;
        report.latency("before it, a sync of a bystander", &quiet);
        done.send_replace(false);

        let mut waiting = JoinSet::new();
        for mut other in others {
            // What joining caused is not what is measured.
            let first = other.sync(None, Duration::ZERO, FILTER).await?;
            waiting.spawn(wait_for(other, token(&first.body)?, who.clone()));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (before, counted) = (target.look()?, Counters::of(target).await);
        bystanders.spawn(stand_by(bystander, until));
        let start = Instant::now();
        let device = User::log_in(target.connection(0)?, &who, PASSWORD);
        let mut device = device.await.context("cannot log in")?;
        report.add("login", ms(start), "ms");
        let uploading = Instant::now();
        upload_keys(&mut device)
            .await
            .context("cannot upload keys")?;
        report.add("keys/upload", ms(uploading), "ms");
        let mut told = Latency::new()?;
        let mut late = 0;
        while let Some(heard) = waiting.join_next().await {
            match heard?? {
                Some(at) => told.record(at - uploading),
                None => late += 1,
            }
        }
        report.latency("until others are told", &told);
        report.error_if("not told", late);
        let seconds = start.elapsed().as_secs_f64();
        before.report(&target.look()?, seconds, told.count(), report);
        let counters = Counters::of(target).await;
        counted.report_growth(&counters, &self.counters, report);
        done.send_replace(true);
        let during = bystanders.join_next().await.context("no bystander")???;
        report.latency("meanwhile, a sync of a bystander", &during);
        let opening = Instant::now();
        let answer = device.sync(None, Duration::ZERO, FILTER).await?;
        report.add("first sync of the device", ms(opening), "ms");
        let bytes = answer.body.len() as u64;
        report.count("first sync of the device, size", bytes, "bytes");
        Ok(())
    }
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1_000.0
}

async fn rooms_of(user: &mut User, count: usize) -> anyhow::Result<Vec<String>> {
    let mut rooms = Vec::with_capacity(count);
    for _ in 0..count {
        rooms.push(user.create_room(ENCRYPTED_ROOM).await?);
    }
    Ok(rooms)
}

/// Syncs again and again, and says how long each took.
async fn stand_by(
    mut user: User,
    done: tokio::sync::watch::Receiver<bool>,
) -> anyhow::Result<Latency> {
    let mut latency = Latency::new()?;
    let first = user.sync(None, Duration::ZERO, FILTER).await?;
    let mut since = token(&first.body)?;
    while !*done.borrow() {
        let start = Instant::now();
        let answer = user.sync(Some(&since), Duration::ZERO, FILTER).await?;
        latency.record(start.elapsed());
        since = token(&answer.body)?;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(latency)
}

/// Waits in /sync until somebody's devices are said to have changed; gives the time.
async fn wait_for(
    mut user: User,
    mut since: String,
    who: String,
) -> anyhow::Result<Option<Instant>> {
    let changed = async {
        loop {
            let answer = user.sync(Some(&since), TOLD_WITHIN / 2, FILTER).await?;
            since = token(&answer.body)?;
            let lists = memmem::find(&answer.body, b"\"device_lists\"");
            let lists = lists.and_then(|at| answer.body.get(at..));
            if lists.is_some_and(|lists| memmem::find(lists, who.as_bytes()).is_some()) {
                return anyhow::Ok(Instant::now());
            }
        }
    };
    timeout(TOLD_WITHIN, changed).await.ok().transpose()
}
