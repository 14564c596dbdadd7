//! One who claims keys of devices.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail};
use hanse_checkers::{Claimed, KeyClaim};
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
    owner::ALGORITHM,
};

const CLAIM: &str = "/_matrix/client/v3/keys/claim";
/// Devices of one claim, at most: each may be another slot.
const DEVICES_MAX: usize = 2;
/// Between two claims, in milliseconds. Nobody claims the same again.
const PAUSE_MS: std::ops::Range<u64> = 5..60;
/// Claims at the end, of each device.
const LAST_CLAIMS_MAX: usize = 10_000;

/// One who claims.
#[derive(Debug)]
pub(super) struct Claimer {
    pub(super) client: Client,
    pub(super) claims: Vec<KeyClaim>,
    owners: Vec<Device>,
    random: ChaCha8Rng,
}

impl Claimer {
    pub(super) fn new(client: Client, owners: Vec<Device>, random: ChaCha8Rng) -> Self {
        Self {
            client,
            claims: Vec::new(),
            owners,
            random,
        }
    }

    /// Claims until told to stop.
    pub(super) async fn work(mut self, stop: watch::Receiver<bool>) -> anyhow::Result<Self> {
        while !*stop.borrow() {
            let count = self.random.random_range(1..=DEVICES_MAX);
            let devices = self.owners.choose_multiple(&mut self.random, count);
            let devices: Vec<Device> = devices.cloned().collect();
            let shared = Arc::clone(&self.client.shared);
            let under_way = shared.under_way.begin(Asked::Claim);
            self.claim(&devices).await?;
            drop(under_way);
            let pause = self.random.random_range(PAUSE_MS);
            sleep(Duration::from_millis(pause)).await;
        }
        Ok(self)
    }

    /// Claims what every device has left.
    pub(super) async fn empty(&mut self) -> anyhow::Result<()> {
        for device in self.owners.clone() {
            self.empty_one(device).await?;
        }
        Ok(())
    }

    async fn empty_one(&mut self, device: Device) -> anyhow::Result<()> {
        for _ in 0..LAST_CLAIMS_MAX {
            if self.claim(std::slice::from_ref(&device)).await? {
                return Ok(());
            }
        }
        bail!("the keys of {} do not end", device.name())
    }

    /// One request, and what came of it for each device; whether they had nothing.
    async fn claim(&mut self, devices: &[Device]) -> anyhow::Result<bool> {
        let call = Call::post(CLAIM, body(devices)).within(ANSWER_WITHIN);
        let answer = match self.client.ask(call).await? {
            Ok(answer) => Some(serde_json::from_slice(&answer.body)?),
            Err(refused) if refused.is_unknown() => None,
            // Nothing was done.
            Err(_) => {
                self.client.rest_and_move_on().await?;
                return Ok(false);
            }
        };
        let mut nothing = true;
        for device in devices {
            let outcome = match &answer {
                Some(answer) => of_device(answer, device)?,
                None => Claimed::Unknown,
            };
            nothing &= outcome == Claimed::Nothing;
            let device = device.name();
            self.claims.push(KeyClaim { device, outcome });
        }
        if answer.is_none() {
            self.client.rest_and_move_on().await?;
        }
        Ok(nothing)
    }
}

fn body(devices: &[Device]) -> String {
    let wanted = devices.iter().map(|device| {
        let wanted = json!({ (device.device_id.clone()): ALGORITHM });
        (device.user_id.clone(), wanted)
    });
    let wanted: Map<String, Value> = wanted.collect();
    json!({ "one_time_keys": wanted }).to_string()
}

/// What an answer has for a device: at most one key.
fn of_device(answer: &Value, device: &Device) -> anyhow::Result<Claimed> {
    let of_user = answer
        .get("one_time_keys")
        .and_then(|users| users.get(&device.user_id));
    let keys = of_user.and_then(|devices| devices.get(&device.device_id));
    let keys = keys.and_then(Value::as_object);
    let Some((id, key)) = keys.and_then(|keys| keys.iter().next()) else {
        return Ok(Claimed::Nothing);
    };
    let id = id.strip_prefix(&format!("{ALGORITHM}:"));
    let id = id.context("a key of another algorithm was handed out")?;
    let key = key.get("key").and_then(Value::as_str);
    let key = key.context("what was handed out is no key")?;
    Ok(Claimed::Key(format!("{id}={key}")))
}
