//! Open loop: messages at fixed times, and how long each takes until it is in others' hands.

use std::{collections::HashSet, sync::Arc, time::Duration};

use anyhow::Context;
use tokio::{
    sync::Barrier,
    task::JoinSet,
    time::{Instant, timeout_at},
};

use crate::{Latency, Report, Target, User, World, json, report::count_f64, send_text};

/// A long poll's time.
const LONG_POLL: Duration = Duration::from_secs(30);
/// How long receivers wait for stragglers after the last message was due.
const STRAGGLERS: Duration = Duration::from_secs(5);
/// Between the last receiver being ready and the first message.
const LEAD: Duration = Duration::from_millis(500);
/// What the receivers ask for, as clients do.
const FILTER: &str = r#"{"room":{"timeline":{"limit":50},"state":{"lazy_load_members":true}}}"#;

/// What to run.
#[derive(Clone, Debug)]
pub struct Deliver {
    /// How many users wait in /sync and send in turn.
    pub users: u64,
    /// How many of them share a room.
    pub room_size: u64,
    /// Messages a second, over all rooms.
    pub per_second: u64,
    /// How long is measured.
    pub measured: Duration,
    /// How long messages flow before that.
    pub warm_up: Duration,
}

/// Who sends what when; messages are numbered in the order in which they are due.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    start: Instant,
    period: Duration,
    messages: u64,
    /// Messages before this number are not measured.
    warm: u64,
    rooms: u64,
    room_size: u64,
}

impl Schedule {
    fn due(&self, message: u64) -> Instant {
        self.start + Duration::from_nanos(self.period.as_nanos() as u64 * message)
    }

    fn end(&self) -> Instant {
        self.due(self.messages)
    }

    fn users(&self) -> u64 {
        self.rooms * self.room_size
    }

    /// Users `0..room_size` are in room 0, and so on; messages go round the rooms, then round the
    /// members.
    fn sender(&self, message: u64) -> u64 {
        let (room, member) = (
            message % self.rooms,
            (message / self.rooms) % self.room_size,
        );
        room * self.room_size + member
    }

    fn sent_by(self, user: u64) -> impl Iterator<Item = u64> {
        let (room, member) = (user / self.room_size, user % self.room_size);
        let first = member * self.rooms + room;
        (first..self.messages).step_by(usize::try_from(self.users()).unwrap_or(usize::MAX))
    }

    /// The measured messages that this user gets from others.
    fn received_by(&self, user: u64) -> HashSet<u64> {
        let room = user / self.room_size;
        (self.warm..self.messages)
            .filter(|&message| message % self.rooms == room && self.sender(message) != user)
            .collect()
    }
}

/// What one receiver saw.
#[derive(Debug)]
struct Received {
    latency: Latency,
    missing: u64,
    repeated: u64,
    syncs: u64,
    errors: u64,
}

impl Deliver {
    /// Runs it.
    pub async fn run(&self, target: &Target) -> anyhow::Result<Report> {
        let rooms = self.users / self.room_size;
        anyhow::ensure!(
            rooms > 0 && self.per_second > 0,
            "there is nothing to deliver"
        );
        let users = rooms * self.room_size;
        let mut world = World::of(target, usize::try_from(users)?).await?;
        let mut room_ids = Vec::new();
        for room in 0..rooms {
            let first = usize::try_from(room * self.room_size)?;
            let members = first..first + usize::try_from(self.room_size)?;
            room_ids.push(world.room(first, |user| members.contains(&user)).await?);
        }
        let mut report = Report::of(format!(
            "deliver: {users} users in rooms of {}, {} messages/s",
            self.room_size, self.per_second
        ));
        self.measure(target, world, room_ids, &mut report).await?;
        Ok(report)
    }

    async fn measure(
        &self,
        target: &Target,
        world: World,
        rooms: Vec<String>,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let ready = Arc::new(Barrier::new(world.users.len() + 1));
        let (announce, schedule) = tokio::sync::watch::channel(None);
        let (mut senders, mut receivers) = (JoinSet::new(), JoinSet::new());
        let rooms = Arc::new(rooms);
        for (user, number) in world.users.into_iter().zip(0u64..) {
            let sender = Sender {
                user: user.on_another_connection(),
                number,
                marker: target.tag.clone(),
                rooms: Arc::clone(&rooms),
            };
            senders.spawn(sender.run(schedule.clone()));
            let marker = target.tag.clone();
            let ready = Arc::clone(&ready);
            receivers.spawn(receive(user, number, marker, ready, schedule.clone()));
        }
        ready.wait().await;
        let plan = self.schedule(rooms.len() as u64);
        announce.send_replace(Some(plan));
        tokio::time::sleep_until(plan.due(plan.warm)).await;
        let before = target.look()?;
        tokio::time::sleep_until(plan.end()).await;
        let after = target.look()?;
        let messages = plan.messages - plan.warm;
        collect(senders.join_all().await, receivers.join_all().await, report)?;
        report.count("messages", messages, "");
        before.report(&after, self.measured.as_secs_f64(), messages, report);
        Ok(())
    }

    fn schedule(&self, rooms: u64) -> Schedule {
        let count = |time: Duration| (time.as_secs_f64() * count_f64(self.per_second)) as u64;
        Schedule {
            start: Instant::now() + LEAD,
            period: Duration::from_secs(1) / u32::try_from(self.per_second).unwrap_or(u32::MAX),
            messages: count(self.warm_up + self.measured),
            warm: count(self.warm_up),
            rooms,
            room_size: self.room_size,
        }
    }
}

fn collect(
    senders: Vec<anyhow::Result<(Latency, u64)>>,
    receivers: Vec<anyhow::Result<Received>>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (mut answered, mut unsent) = (Latency::new()?, 0);
    for sender in senders {
        let (latency, errors) = sender?;
        answered.merge(&latency)?;
        unsent += errors;
    }
    let mut delivered = Latency::new()?;
    let (mut missing, mut repeated, mut syncs, mut errors) = (0, 0, 0, 0);
    for receiver in receivers {
        let received = receiver?;
        delivered.merge(&received.latency)?;
        missing += received.missing;
        repeated += received.repeated;
        syncs += received.syncs;
        errors += received.errors;
    }
    report.count("deliveries", delivered.count(), "");
    report.latency("delivery", &delivered);
    report.latency("send", &answered);
    report.count("syncs answered", syncs, "");
    let counted = [
        ("message not delivered", missing),
        ("message delivered again", repeated),
        ("message not sent", unsent),
        ("sync failed", errors),
    ];
    for (what, times) in counted.into_iter().filter(|(_, times)| *times > 0) {
        report.error(what, times);
    }
    Ok(())
}

/// A schedule that is announced once everybody is ready.
type Announced = tokio::sync::watch::Receiver<Option<Schedule>>;

async fn announced(mut schedule: Announced) -> anyhow::Result<Schedule> {
    let plan = *schedule.wait_for(Option::is_some).await?;
    plan.context("there is no schedule")
}

struct Sender {
    user: User,
    number: u64,
    marker: String,
    rooms: Arc<Vec<String>>,
}

impl Sender {
    async fn run(mut self, schedule: Announced) -> anyhow::Result<(Latency, u64)> {
        let plan = announced(schedule).await?;
        let room = usize::try_from(self.number / plan.room_size)?;
        let room = self.rooms.get(room).context("there is no such room")?;
        let (mut latency, mut errors) = (Latency::new()?, 0);
        for message in plan.sent_by(self.number) {
            tokio::time::sleep_until(plan.due(message)).await;
            let transaction = format!("{}.{message}", self.marker);
            let text = format!("{}#{message}", self.marker);
            match self.user.ok(send_text(room, &transaction, &text)).await {
                Ok(_) if message >= plan.warm => latency.record(plan.due(message).elapsed()),
                Ok(_) => {}
                Err(_) => errors += 1,
            }
        }
        Ok((latency, errors))
    }
}

async fn receive(
    mut user: User,
    number: u64,
    marker: String,
    ready: Arc<Barrier>,
    schedule: Announced,
) -> anyhow::Result<Received> {
    let first = user.sync(None, Duration::ZERO, FILTER).await;
    // Ready in any case, or the others would wait for ever.
    ready.wait().await;
    let first = first.context("cannot sync")?;
    let mut since = token(&first.body)?;
    let plan = announced(schedule).await?;
    let marker = format!("{marker}#");
    let mut expected = plan.received_by(number);
    let mut received = Received::new()?;
    let mut seen = HashSet::new();
    let stop = plan.end() + STRAGGLERS;
    while !expected.is_empty() || Instant::now() < plan.end() {
        let polled = timeout_at(stop, user.sync(Some(&since), LONG_POLL, FILTER)).await;
        let now = Instant::now();
        let Ok(Ok(answer)) = polled else {
            received.errors += u64::from(polled.is_ok());
            if polled.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        received.syncs += 1;
        since = token(&answer.body)?;
        for message in json::numbers_after(&answer.body, &marker) {
            if expected.remove(&message) {
                received
                    .latency
                    .record(now.saturating_duration_since(plan.due(message)));
            }
            received.repeated += u64::from(!seen.insert(message));
        }
    }
    received.missing = expected.len() as u64;
    Ok(received)
}

impl Received {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            latency: Latency::new()?,
            missing: 0,
            repeated: 0,
            syncs: 0,
            errors: 0,
        })
    }
}

pub(crate) fn token(sync: &[u8]) -> anyhow::Result<String> {
    let token = json::string_of(sync, "next_batch");
    Ok(token.context("a sync without next_batch")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_has_one_sender_and_reaches_the_rest_of_its_room() {
        let plan = Schedule {
            start: Instant::now(),
            period: Duration::from_millis(20),
            messages: 100,
            warm: 10,
            rooms: 3,
            room_size: 4,
        };
        let mut sent: Vec<u64> = (0..12).flat_map(|user| plan.sent_by(user)).collect();
        sent.sort_unstable();
        assert_eq!(sent, (0..100).collect::<Vec<_>>());
        for user in 0..12 {
            assert!(
                plan.sent_by(user)
                    .all(|message| plan.sender(message) == user)
            );
        }
        let received: usize = (0..12).map(|user| plan.received_by(user).len()).sum();
        assert_eq!(received, 90 * 3);
    }
}
