//! A device that was away for long: many messages wait for it, and it fetches them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::Context;
use tokio::{task::JoinSet, time::Instant};

use super::FILTER;
use crate::{
    Latency, Report, Target, User, World, deliver::token, http::Call, json, metrics::Counters,
    report::count_f64,
};

/// Answers without any message after which it is taken that no more come.
const EMPTY_MAX: u32 = 3;
/// How long each of them waits for more.
const WAIT: Duration = Duration::from_secs(1);

/// What to run.
#[derive(Clone, Debug)]
pub struct WaitingMessages {
    /// How many messages wait.
    pub messages: usize,
    /// How many send them at the same time.
    pub senders: usize,
    /// Length of a message's ciphertext, in bytes.
    pub bytes: usize,
    /// Prefixes of the server's counters to report.
    pub counters: Vec<String>,
}

/// What the device was given.
struct Drained {
    requests: u64,
    bytes: u64,
    latency: Latency,
    seen: BTreeSet<u64>,
    repeated: u64,
    disordered: u64,
}

impl WaitingMessages {
    /// Runs it.
    pub async fn run(&self, target: &Target) -> anyhow::Result<Report> {
        anyhow::ensure!(self.senders > 0, "nobody sends");
        let world = World::of(target, self.senders + 1).await?;
        let mut users = world.users;
        let mut receiver = users.pop().context("nobody receives")?;
        let first = receiver.sync(None, Duration::ZERO, FILTER).await?;
        let since = token(&first.body)?;
        let title = format!("{} messages wait for one device", self.messages);
        let mut report = Report::of(title);
        self.send(target, users, &receiver, &mut report).await?;
        self.drain(target, &mut receiver, since, &mut report)
            .await?;
        Ok(report)
    }

    async fn send(
        &self,
        target: &Target,
        users: Vec<User>,
        receiver: &User,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let (before, counted, start) = (target.look()?, Counters::of(target).await, Instant::now());
        let mut senders = JoinSet::new();
        for (number, user) in users.into_iter().enumerate() {
            let numbers = (number..self.messages).step_by(self.senders);
            let to = receiver.credentials();
            let body = |n| body(&to.user_id, &to.device_id, &target.tag, n, self.bytes);
            let bodies: Vec<_> = numbers.map(|n| (n, body(n))).collect();
            senders.spawn(send_all(user, target.tag.clone(), bodies));
        }
        let mut latency = Latency::new()?;
        for sent in senders.join_all().await {
            latency.merge(&sent.context("cannot send")?)?;
        }
        let seconds = start.elapsed().as_secs_f64();
        let mut sending = Report::of("sending");
        sending.add("rate", count_f64(latency.count()) / seconds, "/s");
        sending.latency("request", &latency);
        before.report(&target.look()?, seconds, latency.count(), &mut sending);
        let counters = Counters::of(target).await;
        counted.report(&counters, &self.counters, latency.count(), &mut sending);
        report.include("sending: ", sending);
        Ok(())
    }

    async fn drain(
        &self,
        target: &Target,
        receiver: &mut User,
        since: String,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let (before, counted, start) = (target.look()?, Counters::of(target).await, Instant::now());
        let (drained, last) =
            drain(receiver, since, &target.tag, (self.messages, self.senders)).await?;
        let seconds = start.elapsed().as_secs_f64();
        let after = target.look()?;
        let mut draining = Report::of("draining");
        draining.add("time", seconds, "s");
        draining.count("requests", drained.requests, "");
        draining.count("bytes", drained.bytes, "");
        draining.latency("request", &drained.latency);
        before.report(&after, seconds, drained.seen.len() as u64, &mut draining);
        // The last page is acknowledged, too, and what was is gone from the store a moment later.
        receiver.sync(Some(&last), WAIT, FILTER).await?;
        let counters = Counters::of(target).await;
        counted.report_growth(&counters, &self.counters, &mut draining);
        let again = receiver.sync(None, Duration::ZERO, FILTER).await?;
        let left = json::numbers_after(&again.body, &format!("{}#", target.tag)).count();
        for (what, times) in [
            ("message lost", (self.messages - drained.seen.len()) as u64),
            ("message given again", drained.repeated),
            (
                "message before one that its sender sent earlier",
                drained.disordered,
            ),
            ("message still there after its acknowledgement", left as u64),
        ] {
            draining.error_if(what, times);
        }
        report.include("draining: ", draining);
        Ok(())
    }
}

async fn send_all(
    mut user: User,
    tag: String,
    bodies: Vec<(usize, String)>,
) -> anyhow::Result<Latency> {
    let mut latency = Latency::new()?;
    for (number, body) in bodies {
        let path = format!("/_matrix/client/v3/sendToDevice/m.room.encrypted/{tag}.{number}");
        let start = Instant::now();
        user.ok(Call::put(path, body)).await?;
        latency.record(start.elapsed());
    }
    Ok(latency)
}

fn body(user_id: &str, device_id: &str, tag: &str, number: usize, bytes: usize) -> String {
    let text = "x".repeat(bytes);
    format!(
        r#"{{"messages":{{"{user_id}":{{"{device_id}":{{"algorithm":"m.olm.v1.curve25519-aes-sha2","body":"{tag}#{number}","ciphertext":"{text}"}}}}}}}}"#
    )
}

/// Syncs until all messages are there, or no more come; gives the last token, too.
async fn drain(
    user: &mut User,
    mut since: String,
    tag: &str,
    (messages, senders): (usize, usize),
) -> anyhow::Result<(Drained, String)> {
    let marker = format!("{tag}#");
    let mut drained = Drained {
        requests: 0,
        bytes: 0,
        latency: Latency::new()?,
        seen: BTreeSet::new(),
        repeated: 0,
        disordered: 0,
    };
    // Of each sender the number of the last message.
    let mut last: BTreeMap<u64, u64> = BTreeMap::new();
    let mut empty = 0;
    while drained.seen.len() < messages && empty < EMPTY_MAX {
        let start = Instant::now();
        let answer = user.sync(Some(&since), WAIT, FILTER).await?;
        drained.latency.record(start.elapsed());
        drained.requests += 1;
        drained.bytes += answer.body.len() as u64;
        since = token(&answer.body)?;
        let before = drained.seen.len();
        for number in json::numbers_after(&answer.body, &marker) {
            drained.repeated += u64::from(!drained.seen.insert(number));
            let before = last.insert(number % senders as u64, number);
            drained.disordered += u64::from(before.is_some_and(|before| before > number));
        }
        empty = if drained.seen.len() == before {
            empty + 1
        } else {
            0
        };
    }
    Ok((drained, since))
}
