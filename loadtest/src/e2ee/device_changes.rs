//! A large encrypted room whose members get new devices all the time, while some of them wait in /sync.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::{ENCRYPTED_ROOM, FILTER, upload_keys};
use crate::{
    Credentials, Report, Target, User,
    big_room::{Lane, join_all, register_all},
    deliver::token,
    http::Connection,
    metrics::Counters,
    report::count_f64,
    world::{self, PASSWORD},
};

/// A long poll's time.
const LONG_POLL: Duration = Duration::from_secs(30);
/// How long it is waited for stragglers.
const STRAGGLERS: Duration = Duration::from_secs(5);

/// What to run.
#[derive(Clone, Debug)]
pub struct DeviceChanges {
    /// Members of the room.
    pub members: usize,
    /// How many of them wait in /sync.
    pub online: usize,
    /// How many of them get a new device in a minute.
    pub per_minute: u32,
    /// How many register or join at the same time.
    pub lanes: usize,
    /// How long is measured.
    pub measured: Duration,
    /// Prefixes of the server's counters to report.
    pub counters: Vec<String>,
}

/// What one of those who wait saw.
#[derive(Default)]
struct Heard {
    syncs: u64,
    bytes: u64,
    /// How often a user was named as changed.
    named: u64,
}

impl DeviceChanges {
    /// Runs it.
    pub async fn run(&self, target: &Target) -> anyhow::Result<Report> {
        anyhow::ensure!(self.lanes > 0 && self.per_minute > 0, "nothing happens");
        let creator = target.connection(self.members)?;
        let mut creator = world::register(target, creator, self.members).await?;
        let room = creator.create_room(ENCRYPTED_ROOM).await?;
        let members = self.furnish(target, room).await?;
        let title = format!(
            "{} devices change a minute in a room of {}, {} wait",
            self.per_minute, self.members, self.online
        );
        let mut report = Report::of(title);
        self.measure(target, members, &mut report).await?;
        Ok(report)
    }

    /// Everybody joins.
    async fn furnish(&self, target: &Target, room: String) -> anyhow::Result<Vec<Credentials>> {
        let room: Arc<str> = room.into();
        let mut lanes = JoinSet::new();
        for lane in 0..self.lanes {
            let (target, room) = (target.clone(), Arc::clone(&room));
            let numbers = (lane..self.members).step_by(self.lanes);
            lanes.spawn(async move {
                let lane: Lane = register_all(target, lane, numbers).await?;
                let (lane, _) = join_all(lane, room).await?;
                anyhow::Ok(lane.1)
            });
        }
        let mut members = Vec::with_capacity(self.members);
        for joined in lanes.join_all().await {
            members.extend(joined.context("cannot join")?);
        }
        Ok(members)
    }

    async fn measure(
        &self,
        target: &Target,
        members: Vec<Credentials>,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let (announce, end) = watch::channel(None);
        let mut waiting = JoinSet::new();
        for (number, member) in members.iter().take(self.online).enumerate() {
            let mut user = User::resume(target.connection(number)?, member.clone())?;
            let first = user.sync(None, Duration::ZERO, FILTER).await?;
            let since = token(&first.body)?;
            waiting.spawn(listen(user, since, target.tag.clone(), end.clone()));
        }
        // Others than those who wait, in turn.
        let count = self.measured.as_secs() * u64::from(self.per_minute) / 60;
        let changing = members.iter().skip(self.online).cycle();
        let changing: Vec<_> = changing.take(usize::try_from(count)?).cloned().collect();
        let (before, counted, start) = (target.look()?, Counters::of(target).await, Instant::now());
        announce.send_replace(Some(start + self.measured + STRAGGLERS));
        let each = Duration::from_mins(1) / self.per_minute;
        let changes = self.change(target, changing, (start, each)).await?;
        tokio::time::sleep_until(start + self.measured).await;
        let (after, counters) = (target.look()?, Counters::of(target).await);
        let mut heard = Heard::default();
        for one in waiting.join_all().await {
            let one = one?;
            heard.syncs += one.syncs;
            heard.bytes += one.bytes;
            heard.named += one.named;
        }
        report.count("changes", changes, "");
        report.count("syncs answered", heard.syncs, "");
        report.count("bytes of them", heard.bytes, "");
        report.add(
            "users named, for each who waits",
            count_f64(heard.named) / count_f64(self.online.max(1) as u64),
            "",
        );
        before.report(&after, self.measured.as_secs_f64(), changes, report);
        counted.report_growth(&counters, &self.counters, report);
        let missing = (changes * self.online as u64).saturating_sub(heard.named);
        report.error_if("change not told", missing);
        Ok(())
    }

    /// New devices at fixed times; gives how many.
    async fn change(
        &self,
        target: &Target,
        changing: Vec<Credentials>,
        (start, each): (Instant, Duration),
    ) -> anyhow::Result<u64> {
        let mut changes = JoinSet::new();
        for (number, who) in (0_u32..).zip(&changing) {
            tokio::time::sleep_until(start + each * number).await;
            let connection = target.connection(number as usize)?;
            changes.spawn(change(connection, who.user_id.clone()));
        }
        for changed in changes.join_all().await {
            changed.context("cannot log in on a new device")?;
        }
        Ok(changing.len() as u64)
    }
}

async fn change(connection: Connection, user_id: String) -> anyhow::Result<()> {
    let mut device = User::log_in(connection, &user_id, PASSWORD).await?;
    Ok(upload_keys(&mut device).await?)
}

/// Waits in /sync, until the announced end.
async fn listen(
    mut user: User,
    mut since: String,
    tag: String,
    mut end: watch::Receiver<Option<Instant>>,
) -> anyhow::Result<Heard> {
    let end = *end.wait_for(Option::is_some).await?;
    let end = end.context("no end was announced")?;
    let mut heard = Heard::default();
    let marker = format!("@{tag}-");
    loop {
        let polled = timeout_at(end, user.sync(Some(&since), LONG_POLL, FILTER)).await;
        let Ok(answer) = polled else {
            return Ok(heard);
        };
        let answer = answer.context("cannot sync")?;
        since = token(&answer.body)?;
        heard.syncs += 1;
        heard.bytes += answer.body.len() as u64;
        heard.named += crate::json::numbers_after(&answer.body, &marker).count() as u64;
    }
}
