//! A sender: one message at a time, each written down before the next.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use hanse_checkers::{Attempt, Outcome};
use hanse_loadtest::{Refused, User, json, send_text};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// How long a request may take before its outcome counts as unknown.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// How long a sender rests after a refusal.
const REST: Duration = Duration::from_millis(10);

/// What everybody under load shares.
#[derive(Debug, Default)]
pub(super) struct Load {
    stopped: AtomicBool,
    in_flight: AtomicUsize,
}

impl Load {
    /// The server is gone.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    pub(super) fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Sends without an answer at this moment.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }
}

/// What a sender counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Transactions repeated that had been acknowledged.
    pub(super) repeated_acknowledged: u64,
    /// Transactions repeated whose outcome was unknown.
    pub(super) repeated_unknown: u64,
    /// Repeats that did not get a 200.
    pub(super) repeats_failed: u64,
    /// Answers other than 200.
    pub(super) refused: Vec<String>,
}

/// One who sends.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) user: User,
    pub(super) attempts: Vec<Attempt>,
    pub(super) tally: Tally,
    rooms: Arc<Vec<String>>,
    random: ChaCha8Rng,
    messages: u64,
}

impl Sender {
    pub(super) fn new(user: User, rooms: Arc<Vec<String>>, random: ChaCha8Rng) -> Self {
        Self {
            user,
            attempts: Vec::new(),
            tally: Tally::default(),
            rooms,
            random,
            messages: 0,
        }
    }

    /// Sends again what was left open or acknowledged before the last restart, then sends until the
    /// server is gone.
    pub(super) async fn work(mut self, load: Arc<Load>) -> Self {
        let again = self.send_again();
        let ended = !again.await;
        while !ended && !load.stopped() {
            let attempt = self.next_message();
            load.in_flight.fetch_add(1, Ordering::AcqRel);
            let answered = self.send(attempt).await;
            load.in_flight.fetch_sub(1, Ordering::AcqRel);
            if !answered {
                break;
            }
        }
        self
    }

    /// Repeats the transaction left open, every other time, and an acknowledged one. False: the
    /// server is gone.
    pub(super) async fn send_again(&mut self) -> bool {
        let unknown = self
            .attempts
            .last()
            .filter(|last| last.outcome == Outcome::Unknown);
        let unknown = unknown.cloned().filter(|_| self.random.random());
        let acknowledged = self.any_acknowledged();
        self.tally.repeated_unknown += u64::from(unknown.is_some());
        self.tally.repeated_acknowledged += u64::from(acknowledged.is_some());
        for attempt in unknown.into_iter().chain(acknowledged) {
            let answered = self.send(attempt).await;
            let last = self.attempts.last().map(|last| &last.outcome);
            let acknowledged = matches!(last, Some(Outcome::Acknowledged(_)));
            self.tally.repeats_failed += u64::from(!acknowledged);
            if !answered {
                return false;
            }
        }
        true
    }

    fn any_acknowledged(&mut self) -> Option<Attempt> {
        if self.attempts.is_empty() {
            return None;
        }
        let from = self.random.random_range(0..self.attempts.len());
        let mut attempts = self.attempts.iter().skip(from);
        attempts
            .find(|attempt| attempt.outcome.event_id().is_some())
            .cloned()
    }

    fn next_message(&mut self) -> Attempt {
        self.messages += 1;
        let session = self.user.credentials().user_id.clone();
        let room = self.random.random_range(0..self.rooms.len());
        Attempt {
            room: self.rooms.get(room).cloned().unwrap_or_default(),
            transaction: format!("t{}", self.messages),
            mark: format!("{session} {}", self.messages),
            outcome: Outcome::Unknown,
            session,
        }
    }

    /// Sends a message, first time or again, and writes down what came of it. False: there was no
    /// answer.
    async fn send(&mut self, attempt: Attempt) -> bool {
        let call = send_text(&attempt.room, &attempt.transaction, &attempt.mark);
        let answer = self.user.ok(call.within(ANSWER_WITHIN)).await;
        let answered = !matches!(&answer, Err(Refused::Http(_)));
        let outcome = match answer {
            Ok(answer) => match json::string_of(&answer.body, "event_id") {
                Some(event_id) => Outcome::Acknowledged(event_id.to_owned()),
                None => Outcome::Unknown,
            },
            Err(refused) => self.refused(&refused).await,
        };
        self.attempts.push(Attempt { outcome, ..attempt });
        answered
    }

    async fn refused(&mut self, refused: &Refused) -> Outcome {
        if let Refused::Answered { .. } = refused {
            self.tally.refused.push(refused.to_string());
            tokio::time::sleep(REST).await;
        }
        if refused.is_unknown() {
            Outcome::Unknown
        } else {
            Outcome::Refused
        }
    }
}
