//! Keys and messages to devices, under the same faults.
//!
//! Owners upload one-time keys and insist on each upload; claimers take them, one request at a time; messengers
//! send to devices and insist; recipients sync, and now and then lose an answer and ask for it again. At
//! the end claimers empty what is left, so that each key is accounted for.

mod claimer;
mod evidence;
mod messenger;
mod owner;
mod recipient;

use anyhow::Context;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::{sync::watch, task::JoinSet};

pub(super) use self::evidence::Encrypted;
use self::{claimer::Claimer, messenger::Messenger, owner::Owner, recipient::Recipient};
use super::client::Client;

const OWNERS: usize = 4;
const CLAIMERS: usize = 4;
const MESSENGERS: usize = 4;
const RECIPIENTS: usize = 4;

/// A device of a user.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Device {
    user_id: String,
    device_id: String,
}

impl Device {
    fn of(client: &Client) -> Self {
        Self {
            user_id: client.user_id().to_owned(),
            device_id: client.device_id().to_owned(),
        }
    }

    /// As the checkers know it.
    fn name(&self) -> String {
        format!("{} {}", self.user_id, self.device_id)
    }
}

/// Who works on it, until told to stop.
pub(super) struct Encryption {
    owners: JoinSet<anyhow::Result<Owner>>,
    claimers: JoinSet<anyhow::Result<Claimer>>,
    messengers: JoinSet<anyhow::Result<Messenger>>,
    recipients: JoinSet<anyhow::Result<Recipient>>,
    stop: watch::Sender<bool>,
    stop_reading: watch::Sender<bool>,
}

impl Encryption {
    /// So many clients are needed.
    pub(super) const CLIENTS: usize = OWNERS + CLAIMERS + MESSENGERS + RECIPIENTS;

    /// Sets clients to work, each with chances of its own.
    pub(super) fn start(clients: Vec<Client>, random: &mut ChaCha8Rng) -> Self {
        let (stop, working) = watch::channel(false);
        let (stop_reading, reading) = watch::channel(false);
        let mut clients = clients.into_iter();
        let owners: Vec<Client> = clients.by_ref().take(OWNERS).collect();
        let claimers: Vec<Client> = clients.by_ref().take(CLAIMERS).collect();
        let recipients: Vec<Client> = clients.by_ref().take(RECIPIENTS).collect();
        let with_keys: Vec<Device> = owners.iter().map(Device::of).collect();
        let inboxes: Vec<Device> = recipients.iter().map(Device::of).collect();
        let mut encryption = Self {
            owners: JoinSet::new(),
            claimers: JoinSet::new(),
            messengers: JoinSet::new(),
            recipients: JoinSet::new(),
            stop,
            stop_reading,
        };
        for client in owners {
            let owner = Owner::new(client, ChaCha8Rng::from_rng(random));
            encryption.owners.spawn(owner.work(working.clone()));
        }
        for client in claimers {
            let claimer = Claimer::new(client, with_keys.clone(), ChaCha8Rng::from_rng(random));
            encryption.claimers.spawn(claimer.work(working.clone()));
        }
        for client in recipients {
            let recipient = Recipient::new(client, ChaCha8Rng::from_rng(random));
            encryption.recipients.spawn(recipient.work(reading.clone()));
        }
        for client in clients {
            let random = ChaCha8Rng::from_rng(random);
            let messenger = Messenger::new(client, inboxes.clone(), random);
            encryption.messengers.spawn(messenger.work(working.clone()));
        }
        encryption
    }

    /// Ends the work on a cluster that is whole: claims what is left, reads what waits.
    pub(super) async fn settle(self) -> anyhow::Result<Encrypted> {
        self.stop.send_replace(true);
        let owners = all(self.owners).await.context("an owner of keys")?;
        let mut claimers = all(self.claimers).await.context("a claimer")?;
        let messengers = all(self.messengers).await.context("a messenger")?;
        let last = claimers.first_mut().context("there is no claimer")?;
        last.empty().await.context("cannot claim what is left")?;
        self.stop_reading.send_replace(true);
        let mut recipients = all(self.recipients).await.context("a recipient")?;
        for recipient in &mut recipients {
            recipient.catch_up().await?;
        }
        Ok(Encrypted::of(owners, claimers, messengers, recipients))
    }
}

async fn all<T: 'static>(workers: JoinSet<anyhow::Result<T>>) -> anyhow::Result<Vec<T>> {
    workers.join_all().await.into_iter().collect()
}
