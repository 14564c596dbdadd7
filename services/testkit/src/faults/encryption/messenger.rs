//! One who sends messages to devices: one at a time, the same again until it is answered 200.

use std::{sync::Arc, time::Duration};

use hanse_checkers::{Attempt, Outcome};
use hanse_loadtest::http::Call;
use rand::{Rng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};
use tokio::{sync::watch, time::sleep};

use super::{
    super::{
        client::{ANSWER_WITHIN, Client},
        under_way::Asked,
    },
    Device,
};

/// The type of every message.
pub(super) const KIND: &str = "org.example.marked";
/// Recipients of one message, at most: each may be another slot.
const RECIPIENTS_MAX: usize = 3;
/// One of so many recipients is named by `*`, all devices of the user.
const ALL_DEVICES_OF: u32 = 3;
/// Between two messages, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 20..150;
/// One of so many messages is sent again after its 200.
const AGAIN_OF: u32 = 10;

/// Messages to devices have no id: where one is and what is in it stand for one.
pub(super) fn id_in(inbox: &str, mark: &str) -> String {
    format!("{inbox}: {mark}")
}

/// One who sends.
#[derive(Debug)]
pub(super) struct Messenger {
    pub(super) client: Client,
    /// One for each recipient of a message: an inbox is a room of its own.
    pub(super) attempts: Vec<Attempt>,
    inboxes: Vec<Device>,
    random: ChaCha8Rng,
    pub(super) messages: u64,
}

impl Messenger {
    pub(super) fn new(client: Client, inboxes: Vec<Device>, random: ChaCha8Rng) -> Self {
        Self {
            client,
            attempts: Vec::new(),
            inboxes,
            random,
            messages: 0,
        }
    }

    /// Sends until told to stop, and the last message to its end.
    pub(super) async fn work(mut self, stop: watch::Receiver<bool>) -> anyhow::Result<Self> {
        while !*stop.borrow() {
            self.messages += 1;
            let mark = format!("{} {}", self.client.user_id(), self.messages);
            let count = self.random.random_range(1..=RECIPIENTS_MAX);
            let to = self.inboxes.choose_multiple(&mut self.random, count);
            let to: Vec<Device> = to.cloned().collect();
            self.send(&mark, &to).await?;
            let pause = self.random.random_range(PAUSE_MS);
            sleep(Duration::from_millis(pause)).await;
        }
        Ok(self)
    }

    async fn send(&mut self, mark: &str, to: &[Device]) -> anyhow::Result<()> {
        let transaction = format!("t{}", self.messages);
        let path = format!("/_matrix/client/v3/sendToDevice/{KIND}/{transaction}");
        let call = Call::put(path, self.body(mark, to)).within(ANSWER_WITHIN);
        let shared = Arc::clone(&self.client.shared);
        let under_way = shared.under_way.begin(Asked::ToDevice);
        let delivered = self.client.insist(&call).await?.is_some();
        drop(under_way);
        self.attempts.extend(to.iter().map(|device| Attempt {
            session: self.client.user_id().to_owned(),
            room: device.name(),
            transaction: transaction.clone(),
            mark: mark.to_owned(),
            outcome: if delivered {
                Outcome::Acknowledged(id_in(&device.name(), mark))
            } else {
                Outcome::Unknown
            },
        }));
        if self.random.random_ratio(1, AGAIN_OF) {
            self.client.insist(&call).await?;
            self.client.tally.repeated_acknowledged += 1;
        }
        Ok(())
    }

    fn body(&mut self, mark: &str, to: &[Device]) -> String {
        let messages = to.iter().map(|device| {
            let all = self.random.random_ratio(1, ALL_DEVICES_OF);
            let device_id = if all { "*" } else { &device.device_id };
            (
                device.user_id.clone(),
                json!({ device_id: { "mark": mark } }),
            )
        });
        let messages: Map<String, Value> = messages.collect();
        json!({ "messages": messages }).to_string()
    }
}
