//! A sender: one message at a time, the same again until it is answered 200.

use std::{sync::Arc, time::Duration};

use hanse_checkers::{Attempt, Outcome};
use hanse_loadtest::{Refused, json, send_text};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    chooser::Chooser,
    client::{ANSWER_WITHIN, Client, INSISTS_FOR},
    under_way::{Asked, UnderWay},
};

/// Between two messages, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 50..200;
/// One of so many messages is sent again after its 200.
const AGAIN_OF: u32 = 10;

/// What everybody shares.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) chooser: Chooser,
    pub(super) rooms: Vec<String>,
    pub(super) under_way: UnderWay,
}

/// How long a message took until its 200.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub(super) began: Instant,
    pub(super) ended: Instant,
}

/// One who sends.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) client: Client,
    pub(super) attempts: Vec<Attempt>,
    pub(super) waits: Vec<Wait>,
    random: ChaCha8Rng,
    messages: u64,
}

impl Sender {
    pub(super) fn new(client: Client, random: ChaCha8Rng) -> Self {
        Self {
            client,
            attempts: Vec::new(),
            waits: Vec::new(),
            random,
            messages: 0,
        }
    }

    /// Sends until told to stop, and the last message to its end.
    pub(super) async fn work(mut self, stop: watch::Receiver<bool>) -> anyhow::Result<Self> {
        while !*stop.borrow() {
            let message = self.next_message();
            self.deliver(message.clone()).await?;
            if self.random.random_ratio(1, AGAIN_OF) {
                self.deliver(message).await?;
                self.client.tally.repeated_acknowledged += 1;
            }
            let pause = self.random.random_range(PAUSE_MS);
            sleep(Duration::from_millis(pause)).await;
        }
        Ok(self)
    }

    fn next_message(&mut self) -> Attempt {
        self.messages += 1;
        let session = self.client.user_id().to_owned();
        let rooms = &self.client.shared.rooms;
        let room = self.random.random_range(0..rooms.len());
        Attempt {
            room: rooms.get(room).cloned().unwrap_or_default(),
            transaction: format!("t{}", self.messages),
            mark: format!("{session} {}", self.messages),
            outcome: Outcome::Unknown,
            session,
        }
    }

    /// Sends a message until it is answered 200, and notes how long that took.
    async fn deliver(&mut self, message: Attempt) -> anyhow::Result<()> {
        let shared = Arc::clone(&self.client.shared);
        let began = Instant::now();
        let under_way = shared.under_way.begin(Asked::Message);
        let mut delivered = self.send(message.clone()).await?;
        while !delivered && began.elapsed() < INSISTS_FOR {
            self.client.rest_and_move_on().await?;
            self.client.tally.repeated += 1;
            delivered = self.send(message.clone()).await?;
        }
        drop(under_way);
        let ended = Instant::now();
        self.waits.push(Wait { began, ended });
        self.client.tally.undelivered += u64::from(!delivered);
        Ok(())
    }

    /// One request; whether it was answered 200.
    async fn send(&mut self, message: Attempt) -> anyhow::Result<bool> {
        let call = send_text(&message.room, &message.transaction, &message.mark);
        let outcome = match self.client.ask(call.within(ANSWER_WITHIN)).await? {
            Ok(answer) => match json::string_of(&answer.body, "event_id") {
                Some(event_id) => Outcome::Acknowledged(event_id.to_owned()),
                None => Outcome::Unknown,
            },
            Err(refused) => outcome_of(&refused),
        };
        let delivered = outcome.event_id().is_some();
        self.attempts.push(Attempt { outcome, ..message });
        Ok(delivered)
    }
}

fn outcome_of(refused: &Refused) -> Outcome {
    if refused.is_unknown() {
        Outcome::Unknown
    } else {
        Outcome::Refused
    }
}
