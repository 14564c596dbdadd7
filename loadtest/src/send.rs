//! Closed loop: each sender sends, waits for its answer, and sends again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::Instant};

use crate::{Latency, Report, Target, User, World, metrics::Counters, send_text};

/// How long a sender rests after an error.
const REST: Duration = Duration::from_millis(20);

/// What to run.
#[derive(Clone, Debug)]
pub struct Send {
    /// How many send at the same time.
    pub senders: usize,
    /// How many rooms they send into, each of them into all in turn.
    pub rooms: usize,
    /// How long is measured.
    pub measured: Duration,
    /// How long they send before that.
    pub warm_up: Duration,
    /// Length of a message's text.
    pub text_bytes: usize,
    /// Prefixes of the server's counters to report for each message.
    pub counters: Vec<String>,
}

/// When what is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) from: Instant,
    pub(crate) until: Instant,
}

/// What one sender saw.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) latency: Latency,
    pub(crate) errors: BTreeMap<String, u64>,
}

impl Send {
    /// Runs it.
    pub async fn run(&self, target: &Target) -> anyhow::Result<Report> {
        let mut world = World::of(target, self.senders).await?;
        let mut rooms = Vec::new();
        for number in 0..self.rooms {
            rooms.push(world.room(number % self.senders, |_| true).await?);
        }
        let title = format!("send: {} senders, {} rooms", self.senders, self.rooms);
        let mut report = Report::of(title);
        self.measure(target, world.users, rooms, &mut report)
            .await?;
        Ok(report)
    }

    /// Lets the users send into the rooms, and adds what was seen.
    pub(crate) async fn measure(
        &self,
        target: &Target,
        users: Vec<User>,
        rooms: Vec<String>,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let from = Instant::now() + self.warm_up;
        let until = from + self.measured;
        let window = Window { from, until };
        let rooms = Arc::new(rooms);
        let mut senders = JoinSet::new();
        for (number, user) in users.into_iter().enumerate() {
            let rooms = Arc::clone(&rooms);
            let prefix = format!("{}.{number}", target.tag);
            senders.spawn(send_until(
                user,
                number,
                rooms,
                prefix,
                self.text_bytes,
                window,
            ));
        }
        tokio::time::sleep_until(from).await;
        let (before, counted) = (target.look()?, Counters::of(target).await);
        tokio::time::sleep_until(until).await;
        let (after, counters) = (target.look()?, Counters::of(target).await);
        let sent = together(senders.join_all().await)?;
        let seconds = self.measured.as_secs_f64();
        report.add(
            "messages",
            crate::report::count_f64(sent.latency.count()) / seconds,
            "/s",
        );
        report.latency("send", &sent.latency);
        before.report(&after, seconds, sent.latency.count(), report);
        counted.report(&counters, &self.counters, sent.latency.count(), report);
        for (what, times) in sent.errors {
            report.error(what, times);
        }
        Ok(())
    }
}

async fn send_until(
    mut user: User,
    number: usize,
    rooms: Arc<Vec<String>>,
    prefix: String,
    text_bytes: usize,
    window: Window,
) -> anyhow::Result<Sent> {
    let text = "x".repeat(text_bytes);
    let mut sent = Sent {
        latency: Latency::new()?,
        errors: BTreeMap::new(),
    };
    // Starts apart, so that the senders are not all in one room at a time.
    for (turn, room) in rooms
        .iter()
        .cycle()
        .skip(number % rooms.len().max(1))
        .enumerate()
    {
        let start = Instant::now();
        if start >= window.until {
            break;
        }
        let answer = user
            .ok(send_text(room, &format!("{prefix}.{turn}"), &text))
            .await;
        let end = Instant::now();
        match answer {
            Ok(_) if end >= window.from && end <= window.until => {
                sent.latency.record(end - start);
            }
            Ok(_) => {}
            Err(refused) => {
                *sent.errors.entry(refused.to_string()).or_default() += 1;
                tokio::time::sleep(REST).await;
            }
        }
    }
    Ok(sent)
}

/// All senders' figures in one.
pub(crate) fn together(parts: Vec<anyhow::Result<Sent>>) -> anyhow::Result<Sent> {
    let mut all = Sent {
        latency: Latency::new()?,
        errors: BTreeMap::new(),
    };
    for part in parts {
        let part = part?;
        all.latency.merge(&part.latency)?;
        for (what, times) in part.errors {
            *all.errors.entry(what).or_default() += times;
        }
    }
    Ok(all)
}
