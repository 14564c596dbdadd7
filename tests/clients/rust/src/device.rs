//! One device: an unmodified client of matrix-sdk that follows `/sync`, its store in memory.

mod account;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use matrix_sdk::config::SyncSettings;
use matrix_sdk::deserialized_responses::{EncryptionInfo, TimelineEvent, TimelineEventKind};
use matrix_sdk::encryption::Encryption;
use matrix_sdk::ruma::api::client::keys::{claim_keys, upload_keys};
use matrix_sdk::ruma::api::client::room::get_room_event;
use matrix_sdk::ruma::events::AnyTimelineEvent;
use matrix_sdk::ruma::events::room::member::MembershipState;
use matrix_sdk::ruma::events::room::message::{
    OriginalSyncRoomMessageEvent, RoomMessageEventContent,
};
use matrix_sdk::ruma::serde::Raw;
use matrix_sdk::ruma::{
    DeviceId, EventId, OneTimeKeyAlgorithm, OwnedEventId, OwnedOneTimeKeyId, OwnedUserId, RoomId,
    UserId,
};
use matrix_sdk::{Client, Error, Room, RoomState, SessionMeta};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::waiting::{WAIT, until_so};

const POLL: Duration = Duration::from_secs(10);
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// A message as `/sync` brought it, in clear text.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) sender: OwnedUserId,
    pub(crate) body: String,
    /// None if it came unencrypted.
    pub(crate) encryption: Option<EncryptionInfo>,
}

pub(crate) struct Device {
    pub(crate) client: Client,
    session: SessionMeta,
    heard: watch::Receiver<HashMap<OwnedEventId, Message>>,
    /// The sync, which goes on as long as this is kept.
    syncing: JoinSet<Error>,
}

impl Device {
    /// Syncs from now on.
    async fn start(client: Client) -> Result<Self> {
        let session = client.session_meta().context("not logged in")?.clone();
        let (hear, heard) = watch::channel(HashMap::new());
        client.add_event_handler(
            async move |event: OriginalSyncRoomMessageEvent, encryption: Option<EncryptionInfo>| {
                let message = Message {
                    sender: event.sender,
                    body: event.content.body().to_owned(),
                    encryption,
                };
                hear.send_modify(|heard| {
                    heard.insert(event.event_id, message);
                });
            },
        );
        client.sync_once(SyncSettings::new()).await?;
        client
            .encryption()
            .wait_for_e2ee_initialization_tasks()
            .await;
        let mut device = Self {
            client,
            session,
            heard,
            syncing: JoinSet::new(),
        };
        device.resume();
        // Synapse tells others of a device before it has all its keys.
        until_so("keys are uploaded", async || {
            Ok(device.one_time_keys_left().await? > 0)
        })
        .await?;
        Ok(device)
    }

    /// Follows `/sync` until the server refuses it.
    pub(crate) fn resume(&mut self) {
        let client = self.client.clone();
        self.syncing.spawn(async move {
            loop {
                let settings = SyncSettings::new().timeout(POLL);
                let Err(error) = client.sync(settings).await else {
                    continue;
                };
                eprintln!("sync: {error}");
                if error.client_api_error_kind().is_some() {
                    return error;
                }
                // A server that is away is waited for, as other clients do.
                sleep(RETRY_AFTER).await;
            }
        });
    }

    /// Is offline until `resume`.
    pub(crate) async fn pause(&mut self) {
        self.syncing.shutdown().await;
    }

    /// How many one-time keys the server has for this device.
    pub(crate) async fn one_time_keys_left(&self) -> Result<u64> {
        let told = self.client.send(upload_keys::v3::Request::new()).await?;
        let left = told
            .one_time_key_counts
            .get(&OneTimeKeyAlgorithm::SignedCurve25519);
        Ok(left.map_or(0, |&left| left.into()))
    }

    pub(crate) fn id(&self) -> &UserId {
        &self.session.user_id
    }

    pub(crate) fn device_id(&self) -> &DeviceId {
        &self.session.device_id
    }

    pub(crate) fn encryption(&self) -> Encryption {
        self.client.encryption()
    }

    pub(crate) fn room(&self, room_id: &RoomId) -> Result<Room> {
        let room = self.client.get_room(room_id);
        room.with_context(|| format!("{} does not have {room_id}", self.id()))
    }

    /// Waits until sync says that this user is in the room.
    pub(crate) async fn until_in(&self, room_id: &RoomId) -> Result<()> {
        until_so(&format!("{} is in {room_id}", self.id()), async || {
            let room = self.client.get_room(room_id);
            Ok(room.is_some_and(|room| room.state() == RoomState::Joined))
        })
        .await
    }

    /// Accepts the invitation that sync brings.
    pub(crate) async fn join(&self, room_id: &RoomId) -> Result<()> {
        until_so(&format!("{} is invited", self.id()), async || {
            let room = self.client.get_room(room_id);
            Ok(room.is_some_and(|room| room.state() == RoomState::Invited))
        })
        .await?;
        self.client.join_room_by_id(room_id).await?;
        self.until_in(room_id).await?;
        until_so(&format!("{room_id} is encrypted"), async || {
            Ok(self.room(room_id)?.encryption_state().is_encrypted())
        })
        .await
    }

    /// Waits until this user sees another with a membership in the room.
    pub(crate) async fn until_member(
        &self,
        room_id: &RoomId,
        other: &Self,
        membership: MembershipState,
    ) -> Result<()> {
        let what = format!("{} sees {}: {membership}", self.id(), other.id());
        until_so(&what, async || {
            let member = self.room(room_id)?.get_member_no_sync(other.id()).await?;
            Ok(member.is_some_and(|member| *member.membership() == membership))
        })
        .await
    }

    /// Sends a text message, encrypted if the room is.
    pub(crate) async fn say(&self, room_id: &RoomId, body: &str) -> Result<OwnedEventId> {
        let content = RoomMessageEventContent::text_plain(body);
        Ok(self.room(room_id)?.send(content).await?.response.event_id)
    }

    /// The same in a new session, whose key the others do not have yet.
    pub(crate) async fn say_anew(&self, room_id: &RoomId, body: &str) -> Result<OwnedEventId> {
        self.room(room_id)?.discard_room_key().await?;
        self.say(room_id, body).await
    }

    /// The message once sync has brought it in clear text; its key must not come later than itself.
    pub(crate) async fn until_heard(&self, event_id: &EventId) -> Result<Message> {
        let mut heard = self.heard.clone();
        let waiting = heard.wait_for(|heard| heard.contains_key(event_id));
        let Ok(heard) = timeout(WAIT, waiting).await else {
            let (me, here) = (self.id(), self.device_id());
            bail!(
                "not within {} s: {me} {here} reads {event_id}",
                WAIT.as_secs()
            );
        };
        Ok(heard?[event_id].clone())
    }

    /// Takes a one-time key of another device's; its id.
    pub(crate) async fn claim(&self, other: &Self) -> Result<Option<OwnedOneTimeKeyId>> {
        let algorithm = OneTimeKeyAlgorithm::SignedCurve25519;
        let device = BTreeMap::from([(other.device_id().to_owned(), algorithm)]);
        let wanted = BTreeMap::from([(other.id().to_owned(), device)]);
        let answer = self
            .client
            .send(claim_keys::v3::Request::new(wanted))
            .await?;
        let device = answer.one_time_keys.get(other.id());
        let keys = device.and_then(|devices| devices.get(other.device_id()));
        Ok(keys.and_then(|keys| keys.keys().next().cloned()))
    }

    /// An event as the server has it.
    pub(crate) async fn held(
        &self,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<Raw<AnyTimelineEvent>> {
        let request = get_room_event::v3::Request::new(room_id.to_owned(), event_id.to_owned());
        Ok(self.client.send(request).await?.event)
    }

    /// The clear text of a message that is fetched; None if this device has no key for it.
    pub(crate) async fn read(
        &self,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<Option<String>> {
        clear_text(&self.room(room_id)?.event(event_id, None).await?)
    }

    /// The same of a message that another device fetches.
    pub(crate) async fn read_of(
        &self,
        fetcher: &Self,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<Option<String>> {
        let event = fetcher.held(room_id, event_id).await?.cast_unchecked();
        clear_text(&self.room(room_id)?.decrypt_event(&event, None).await?)
    }

    /// Whether a device is on this one's list, which nothing but sync has kept current.
    async fn knows(&self, user_id: &UserId, device_id: &DeviceId) -> Result<bool> {
        let devices = self.encryption().get_user_devices(user_id).await?;
        Ok(devices.get(device_id).is_some())
    }

    pub(crate) async fn until_knows(&self, other: &Self) -> Result<()> {
        let (user_id, device_id) = (other.id(), other.device_id());
        let what = format!("{} knows {device_id} of {user_id}", self.id());
        until_so(&what, async || self.knows(user_id, device_id).await).await
    }

    pub(crate) async fn until_forgets(&self, other: &Self) -> Result<()> {
        let (user_id, device_id) = (other.id(), other.device_id());
        let what = format!("{} does not know {device_id} of {user_id}", self.id());
        until_so(&what, async || Ok(!self.knows(user_id, device_id).await?)).await
    }

    /// Waits until this device sees that another is signed by its owner.
    pub(crate) async fn until_signed(&self, other: &Self) -> Result<()> {
        let (user_id, device_id) = (other.id(), other.device_id());
        let what = format!("{} sees {device_id} of {user_id} signed", self.id());
        until_so(&what, async || {
            let device = self.encryption().get_device(user_id, device_id).await?;
            Ok(device.is_some_and(|device| device.is_cross_signed_by_owner()))
        })
        .await
    }
}

/// The text of a message that was encrypted; None without its key.
fn clear_text(event: &TimelineEvent) -> Result<Option<String>> {
    match &event.kind {
        TimelineEventKind::Decrypted(decrypted) => {
            let content = decrypted
                .event
                .get_field::<RoomMessageEventContent>("content")?;
            Ok(Some(content.context("no content")?.body().to_owned()))
        }
        TimelineEventKind::UnableToDecrypt { .. } => Ok(None),
        TimelineEventKind::PlainText { .. } => bail!("it is not encrypted"),
    }
}
