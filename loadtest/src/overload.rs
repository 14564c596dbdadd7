//! More than the server can do: what it still does, and what it says to the rest.
//!
//! First the peak, by a closed loop; then several times that, on a schedule, on many connections, each
//! request once. Then the closed loop again: whoever was overloaded must come back by itself.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    Latency, Refused, Report, Target, User, World,
    report::count_f64,
    send::{Send, Window},
    send_text,
};

/// Length of a message's text, in bytes.
const TEXT_BYTES: usize = 40;

/// What to run.
#[derive(Clone, Debug)]
pub struct Overload {
    /// How many send at the same time for the peak.
    pub senders: usize,
    /// How many rooms they send into.
    pub rooms: usize,
    /// How many times the peak is offered.
    pub times: u32,
    /// On how many connections: what is on the way at once.
    pub connections: usize,
    /// How long each part is measured.
    pub measured: Duration,
    /// How long each part goes on before that.
    pub warm_up: Duration,
}

/// Requests at fixed times, taken by whichever connection is free.
struct Schedule {
    start: Instant,
    each: Duration,
    next: AtomicU64,
    window: Window,
}

/// What became of what was offered in the window.
struct Offered {
    accepted: Latency,
    refused: Latency,
    late: u64,
    answers: BTreeMap<String, u64>,
}

impl Overload {
    /// Runs it.
    pub async fn run(&self, target: &Target) -> anyhow::Result<Report> {
        let mut world = World::of(target, self.senders).await?;
        let mut rooms = Vec::new();
        for number in 0..self.rooms {
            rooms.push(world.room(number % self.senders, |_| true).await?);
        }
        let mut report = Report::of(format!(
            "overload: {} times the peak of {} senders, {} rooms, {} connections",
            self.times, self.senders, self.rooms, self.connections
        ));
        let peak = self.peak(target, &world, &rooms, "before: ", &mut report);
        let peak = peak.await?;
        let goodput = self.overload(target, &world, &rooms, peak, &mut report);
        let goodput = goodput.await?;
        self.peak(target, &world, &rooms, "after: ", &mut report)
            .await?;
        report.add("goodput of the peak", 100.0 * goodput / peak, "%");
        Ok(report)
    }

    /// Messages a second in a closed loop.
    async fn peak(
        &self,
        target: &Target,
        world: &World,
        rooms: &[String],
        prefix: &str,
        report: &mut Report,
    ) -> anyhow::Result<f64> {
        let send = Send {
            senders: self.senders,
            rooms: self.rooms,
            measured: self.measured,
            warm_up: self.warm_up,
            text_bytes: TEXT_BYTES,
            counters: Vec::new(),
        };
        let mut part = Report::of(prefix);
        let users = world.users.iter().map(User::on_another_connection);
        // Transaction ids of its own.
        let target = Target {
            tag: format!("{}{}", target.tag, prefix.trim_end_matches(": ")),
            ..target.clone()
        };
        send.measure(&target, users.collect(), rooms.to_vec(), &mut part)
            .await?;
        let rate = part.figure("messages").context("nothing was measured")?;
        report.include(prefix, part);
        Ok(rate)
    }

    /// Messages a second that were accepted.
    async fn overload(
        &self,
        target: &Target,
        world: &World,
        rooms: &[String],
        peak: f64,
        report: &mut Report,
    ) -> anyhow::Result<f64> {
        let start = Instant::now();
        let from = start + self.warm_up;
        let until = from + self.measured;
        let schedule = Arc::new(Schedule {
            start,
            each: Duration::from_secs_f64(1.0 / (peak * f64::from(self.times))),
            next: AtomicU64::new(0),
            window: Window { from, until },
        });
        let mut offering = JoinSet::new();
        for (number, user) in (0..self.connections).zip(world.users.iter().cycle()) {
            let user = user.on_another_connection();
            let room = rooms.iter().cycle().nth(number % rooms.len().max(1));
            let room = room.context("there is no room")?.clone();
            let prefix = format!("{}over{number}", target.tag);
            offering.spawn(offer(user, room, prefix, Arc::clone(&schedule)));
        }
        tokio::time::sleep_until(from).await;
        let before = target.look()?;
        tokio::time::sleep_until(until).await;
        let after = target.look()?;
        let mut all = Offered::new()?;
        for part in offering.join_all().await {
            all.add(&part?)?;
        }
        let seconds = self.measured.as_secs_f64();
        let goodput = count_f64(all.accepted.count()) / seconds;
        let mut part = Report::of("overload");
        let asked = all.accepted.count() + all.answers.values().sum::<u64>();
        part.add("offered", count_f64(asked) / seconds, "/s");
        part.add("accepted", goodput, "/s");
        part.count("begun late, all connections in use", all.late, "");
        part.latency("accepted", &all.accepted);
        part.latency("refused", &all.refused);
        before.report(&after, seconds, all.accepted.count(), &mut part);
        for (what, times) in all.answers {
            part.error(what, times);
        }
        report.include("overload: ", part);
        Ok(goodput)
    }
}

async fn offer(
    mut user: User,
    room: String,
    prefix: String,
    schedule: Arc<Schedule>,
) -> anyhow::Result<Offered> {
    let text = "x".repeat(TEXT_BYTES);
    let mut seen = Offered::new()?;
    loop {
        let number = schedule.next.fetch_add(1, Ordering::Relaxed);
        let due = schedule.start + schedule.each.mul_f64(count_f64(number));
        if due >= schedule.window.until {
            return Ok(seen);
        }
        let late = Instant::now() > due + schedule.each;
        tokio::time::sleep_until(due).await;
        let begun = Instant::now();
        let call = send_text(&room, &format!("{prefix}.{number}"), &text);
        let answer = user.ok(call).await;
        let end = Instant::now();
        if end < schedule.window.from || end > schedule.window.until {
            continue;
        }
        seen.late += u64::from(late);
        seen.note(answer.map(drop), end - begun);
    }
}

impl Offered {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            accepted: Latency::new()?,
            refused: Latency::new()?,
            late: 0,
            answers: BTreeMap::new(),
        })
    }

    fn note(&mut self, answer: Result<(), Refused>, took: Duration) {
        match answer {
            Ok(()) => self.accepted.record(took),
            Err(refused) => {
                self.refused.record(took);
                *self.answers.entry(refused.to_string()).or_default() += 1;
            }
        }
    }

    fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.accepted.merge(&other.accepted)?;
        self.refused.merge(&other.refused)?;
        self.late += other.late;
        for (what, times) in &other.answers {
            *self.answers.entry(what.clone()).or_default() += times;
        }
        Ok(())
    }
}
