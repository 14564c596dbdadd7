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
    /// Repeats that were answered, but not with a 200.
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
    load: Arc<Load>,
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
            load: Arc::default(),
            rooms,
            random,
            messages: 0,
        }
    }

    /// Sends again what was left open or acknowledged before the last restart, then sends until the
    /// server is gone.
    pub(super) async fn work(mut self, load: Arc<Load>) -> Self {
        self.load = load;
        let mut answered = self.send_again().await;
        while answered && !self.load.stopped() {
            let attempt = self.next_message();
            answered = self.send(attempt).await;
        }
        self
    }

    /// Repeats the transaction left open, every other time, and an acknowledged one. False: the
    /// server is gone.
    pub(super) async fn send_again(&mut self) -> bool {
        let last = self.attempts.last().cloned();
        let unknown = last.filter(|last| last.outcome == Outcome::Unknown);
        let unknown = unknown.filter(|_| self.random.random());
        let acknowledged = self.any_acknowledged();
        for attempt in unknown.into_iter().chain(acknowledged) {
            let before = attempt.outcome.clone();
            if !self.send(attempt).await {
                return false;
            }
            self.tally_repeat(&before);
        }
        true
    }

    /// Counts a repeat that was answered; one that the next kill cut off is none.
    fn tally_repeat(&mut self, before: &Outcome) {
        match before {
            Outcome::Unknown => self.tally.repeated_unknown += 1,
            _ => self.tally.repeated_acknowledged += 1,
        }
        let last = self.attempts.last().map(|last| &last.outcome);
        let acknowledged = matches!(last, Some(Outcome::Acknowledged(_)));
        self.tally.repeats_failed += u64::from(!acknowledged);
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
        self.load.in_flight.fetch_add(1, Ordering::AcqRel);
        let answer = self.user.ok(call.within(ANSWER_WITHIN)).await;
        self.load.in_flight.fetch_sub(1, Ordering::AcqRel);
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
