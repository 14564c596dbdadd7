//! A device that uploads one-time keys.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use hanse_checkers::KeyUpload;
use hanse_loadtest::http::{Answer, Call};
use rand::Rng;
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

pub(super) const ALGORITHM: &str = "signed_curve25519";
const UPLOAD: &str = "/_matrix/client/v3/keys/upload";
/// Keys of one upload.
const AT_ONCE: u64 = 20;
/// No more are uploaded while so many wait to be claimed.
const WAITING_MAX: u64 = 200;
/// Between two uploads, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 100..300;
/// One of so many uploads is made again after its 200, when its keys may have been claimed.
const AGAIN_OF: u32 = 5;

/// One who uploads.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) client: Client,
    pub(super) uploads: Vec<KeyUpload>,
    device: Device,
    random: ChaCha8Rng,
    keys: u64,
}

impl Owner {
    pub(super) fn new(client: Client, random: ChaCha8Rng) -> Self {
        Self {
            device: Device::of(&client),
            client,
            uploads: Vec::new(),
            random,
            keys: 0,
        }
    }

    /// Uploads until told to stop, and the last upload to its end.
    pub(super) async fn work(mut self, stop: watch::Receiver<bool>) -> anyhow::Result<Self> {
        let mut waiting = 0;
        while !*stop.borrow() {
            waiting = if waiting < WAITING_MAX {
                self.upload_more().await?
            } else {
                self.upload(&Call::post(UPLOAD, "{}")).await?
            }
            .unwrap_or(waiting);
            let pause = self.random.random_range(PAUSE_MS);
            sleep(Duration::from_millis(pause)).await;
        }
        Ok(self)
    }

    /// Keys that nobody has seen; how many wait then, if the server said so.
    async fn upload_more(&mut self) -> anyhow::Result<Option<u64>> {
        let numbers = self.keys..self.keys + AT_ONCE;
        self.keys = numbers.end;
        let keys: Vec<(String, String)> = numbers.map(|number| self.key(number)).collect();
        let call = Call::post(UPLOAD, self.body(&keys));
        let mut waiting = self.upload(&call).await?;
        let acknowledged = waiting.is_some();
        let uploads = keys.into_iter().map(|(id, key)| KeyUpload {
            device: self.device.name(),
            key: format!("{id}={key}"),
            acknowledged,
        });
        self.uploads.extend(uploads);
        if self.random.random_ratio(1, AGAIN_OF) {
            waiting = self.upload(&call).await?;
            self.client.tally.repeated_acknowledged += 1;
        }
        Ok(waiting)
    }

    async fn upload(&mut self, call: &Call) -> anyhow::Result<Option<u64>> {
        let shared = Arc::clone(&self.client.shared);
        let _under_way = shared.under_way.begin(Asked::Upload);
        let call = call.clone().within(ANSWER_WITHIN);
        let answer = self.client.insist(&call).await?;
        answer.map(|answer| waiting(&answer)).transpose()
    }

    fn key(&self, number: u64) -> (String, String) {
        let id = format!("K{number}");
        (id, format!("{} {number}", self.device.user_id))
    }

    fn body(&self, keys: &[(String, String)]) -> String {
        let Device { user_id, device_id } = &self.device;
        let signature = json!({ user_id: { (format!("ed25519:{device_id}")): "of no matter" } });
        let keys = keys.iter().map(|(id, key)| {
            let key = json!({ "key": key, "signatures": signature });
            (format!("{ALGORITHM}:{id}"), key)
        });
        let keys: Map<String, Value> = keys.collect();
        json!({ "one_time_keys": keys }).to_string()
    }
}

/// How many keys the server says it has.
fn waiting(answer: &Answer) -> anyhow::Result<u64> {
    let answer: Value = serde_json::from_slice(&answer.body)?;
    let count = answer.pointer(&format!("/one_time_key_counts/{ALGORITHM}"));
    count
        .and_then(Value::as_u64)
        .context("an upload's answer has no count")
}
