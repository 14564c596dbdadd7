//! A device that reads the messages for it, and acknowledges each answer with the next request.

use std::time::Duration;

use anyhow::ensure;
use hanse_checkers::Event;
use hanse_loadtest::http::{Call, escape};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use tokio::{sync::watch, time::Instant};

use super::{
    super::client::{ANSWER_WITHIN, Client},
    Device,
    messenger::{KIND, id_in},
};

/// How long a sync waits for news.
const LONG_POLL: Duration = Duration::from_secs(5);
/// One of so many answers is lost, and asked for again.
const LOST_OF: u32 = 10;
/// How long nothing must have come at the end.
const QUIET: Duration = Duration::from_secs(4);
/// How long the end may take.
const ENDS_WITHIN: Duration = Duration::from_mins(2);

/// One who reads.
#[derive(Debug)]
pub(super) struct Recipient {
    pub(super) client: Client,
    /// Every message, in the order in which they came.
    pub(super) inbox: Vec<Event>,
    pub(super) syncs: u64,
    /// Answers with messages that were lost.
    pub(super) lost: u64,
    pub(super) device: String,
    random: ChaCha8Rng,
    since: Option<String>,
}

#[derive(Debug, Deserialize)]
struct WireSync {
    next_batch: String,
    #[serde(default)]
    to_device: WireToDevice,
}

#[derive(Debug, Default, Deserialize)]
struct WireToDevice {
    #[serde(default)]
    events: Vec<WireMessage>,
}

#[derive(Debug, Deserialize)]
struct WireMessage {
    r#type: String,
    content: WireContent,
}

#[derive(Debug, Deserialize)]
struct WireContent {
    mark: String,
}

impl Recipient {
    pub(super) fn new(client: Client, random: ChaCha8Rng) -> Self {
        Self {
            device: Device::of(&client).name(),
            client,
            inbox: Vec::new(),
            syncs: 0,
            lost: 0,
            random,
            since: None,
        }
    }

    /// Reads until told to stop.
    pub(super) async fn work(mut self, stop: watch::Receiver<bool>) -> anyhow::Result<Self> {
        while !*stop.borrow() {
            self.read(LONG_POLL).await?;
        }
        Ok(self)
    }

    /// Reads on until nothing comes any more.
    pub(super) async fn catch_up(&mut self) -> anyhow::Result<()> {
        let (begun, mut last) = (Instant::now(), Instant::now());
        while last.elapsed() < QUIET {
            if self.read(Duration::from_secs(1)).await? {
                last = Instant::now();
            }
            let device = &self.device;
            ensure!(
                begun.elapsed() < ENDS_WITHIN,
                "messages for {device} do not end"
            );
        }
        Ok(())
    }

    /// One sync; whether there was something, or what it would have given is still to come.
    async fn read(&mut self, wait: Duration) -> anyhow::Result<bool> {
        let mut path = format!("/_matrix/client/v3/sync?timeout={}", wait.as_millis());
        if let Some(since) = &self.since {
            path.push_str("&since=");
            path.push_str(&escape(since));
        }
        let call = Call::get(path).within(wait + ANSWER_WITHIN);
        let Ok(answer) = self.client.ask(call).await? else {
            self.client.rest_and_move_on().await?;
            return Ok(true);
        };
        let answer: WireSync = serde_json::from_slice(&answer.body)?;
        self.syncs += 1;
        let came = !answer.to_device.events.is_empty();
        if came && self.random.random_ratio(1, LOST_OF) {
            self.lost += 1;
            return Ok(true);
        }
        self.since = Some(answer.next_batch);
        for message in answer.to_device.events {
            ensure!(
                message.r#type == KIND,
                "a message of type {}",
                message.r#type
            );
            let mark = message.content.mark;
            self.inbox.push(Event {
                event_id: id_in(&self.device, &mark),
                mark: Some(mark),
            });
        }
        Ok(came)
    }
}
