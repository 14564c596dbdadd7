//! Sending ([spec]).
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#put_matrixclientv3sendtodeviceeventtypetxnid

use std::collections::{BTreeMap, BTreeSet};

use hanse_log::Position;
use hanse_proto::{
    log::{Entry, Relay, entry},
    user::{self as proto, UserEntry, user_entry::Kind},
};
use hanse_store::Range;
use ruma::{
    DeviceId, OwnedDeviceId, OwnedUserId, UserId, events::AnyToDeviceEventContent, serde::Raw,
    to_device::DeviceIdOrAllDevices,
};
use serde::{Deserialize, Serialize};

use super::parts::{Message, Part, Recipients, split};
use crate::{
    Unavailable, Users,
    commands::command,
    config::ttl_ms,
    devices::DEVICES_READ_MAX,
    error::{from_unavailable, refusals},
    tables::{
        device::DeviceRow,
        to_device_transaction::{self, ToDeviceTransactionRow},
    },
    turn::Turn,
};

/// Largest content of one message, in bytes: an event's bound.
const CONTENT_BYTES_MAX: usize = 64 * 1024;
/// Messages of one request.
const MESSAGES_MAX: usize = 10_000;
/// Longest type or transaction id, in bytes.
const ID_BYTES_MAX: usize = 255;
/// Device ids that a message to all devices of a user names, in bytes: with the content they fit
/// into a batch of the log.
const ALL_DEVICES_BYTES_MAX: usize = 48 * 1024;

/// The content of a message.
pub type DeviceMessage = Raw<AnyToDeviceEventContent>;

/// What a device sends to devices.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ToDeviceMessages {
    /// The type of all of them.
    pub event_type: String,
    /// What a repeat is recognised by.
    pub txn_id: String,
    /// By user and device.
    pub messages: BTreeMap<OwnedUserId, BTreeMap<DeviceIdOrAllDevices, DeviceMessage>>,
}

/// Why nothing was sent.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum SendToDeviceError {
    /// A content is no JSON object (`M_BAD_JSON`).
    #[error("the content of a message is a JSON object")]
    NotAnObject,
    /// A type or a transaction id is empty or too long (`M_INVALID_PARAM`).
    #[error("types and transaction ids have 1 to {ID_BYTES_MAX} bytes")]
    Id,
    /// A message is too large (`M_TOO_LARGE`).
    #[error("a message has {bytes} bytes, at most {CONTENT_BYTES_MAX} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Too many messages (`M_TOO_LARGE`).
    #[error("a request has at most {MESSAGES_MAX} messages")]
    TooMany,
    /// Not now; what was sent already is not sent again by a repeat.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

from_unavailable!(SendToDeviceError);
refusals!(SendToDeviceError);

/// Sends messages from a device.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SendToDevice {
    sender: OwnedUserId,
    device_id: OwnedDeviceId,
    messages: ToDeviceMessages,
}
command!(SendToDevice, "user.send_to_device", of sender,
    Users::send_to_device_here => (), SendToDeviceError, repeats safely);

impl Users {
    /// Sends messages to devices of local users; to devices that do not exist nothing is sent.
    /// When it returns they wait in the recipients' slots, unless the relay takes unusually long.
    pub async fn send_to_device(
        &self,
        (sender, device_id): (&UserId, &DeviceId),
        request: &ToDeviceMessages,
    ) -> Result<(), SendToDeviceError> {
        check(request)?;
        let send = SendToDevice {
            sender: sender.to_owned(),
            device_id: device_id.to_owned(),
            messages: request.clone(),
        };
        self.routed(send).await
    }

    async fn send_to_device_here(&self, send: &SendToDevice) -> Result<(), SendToDeviceError> {
        let SendToDevice {
            sender,
            device_id,
            messages: request,
        } = send;
        let parts = split(&request.messages);
        let mut last = None;
        {
            let turn = self.user_turn(sender).await?;
            for (at, part) in (0..).zip(parts) {
                let origin = Origin {
                    sender,
                    device_id,
                    request,
                    part: at,
                };
                last = self.send_part(&turn, &origin, part).await?.or(last);
            }
        }
        if let Some(position) = last {
            let targets = request.messages.keys().map(|user_id| user_id.as_str());
            self.await_relayed(sender.as_str(), position, targets).await;
        }
        Ok(())
    }

    async fn send_part(
        &self,
        turn: &Turn,
        origin: &Origin<'_>,
        part: Part<'_>,
    ) -> Result<Option<Position>, Unavailable> {
        let known: Option<ToDeviceTransactionRow> = self.archive().get(origin.key()).await?;
        if let Some(known) = known {
            return Ok(Some(known.position));
        }
        let mut by_user: BTreeMap<&UserId, Vec<proto::DeviceMessage>> = BTreeMap::new();
        for message in &part {
            if let Some(resolved) = self.resolve(message).await? {
                by_user.entry(message.user_id).or_default().push(resolved);
            }
        }
        if by_user.is_empty() {
            return Ok(None);
        }
        let now_ms = self.now_ms();
        let config = &self.inner.config;
        let relays = by_user.into_iter().map(|(user_id, messages)| {
            let expires_at_ms = now_ms + ttl_ms(config.to_device_ttl);
            origin.relay(user_id, messages, expires_at_ms)
        });
        let expires_at_ms = now_ms + ttl_ms(config.to_device_transaction_ttl);
        let sent = Kind::ToDeviceSent(origin.sent(expires_at_ms));
        self.commit_relaying(turn, sent, relays.collect())
            .await
            .map(Some)
    }

    /// The devices that there are, and have room, of those that a message is for.
    async fn resolve(
        &self,
        message: &Message<'_>,
    ) -> Result<Option<proto::DeviceMessage>, Unavailable> {
        if !self.is_local(message.user_id) {
            return Ok(None);
        }
        let existing: Vec<OwnedDeviceId> = match &message.recipients {
            Recipients::One(device_id) => {
                let device = self.device_row(message.user_id, device_id).await?;
                device.map(|device| device.device_id).into_iter().collect()
            }
            Recipients::AllBut(named) => self.all_devices_but(message.user_id, named).await?,
        };
        let mut device_ids = Vec::new();
        for device_id in existing {
            if self.fits(message.user_id, &device_id).await? {
                device_ids.push(device_id);
            }
        }
        Ok((!device_ids.is_empty()).then(|| proto::DeviceMessage {
            device_ids: device_ids.iter().map(ToString::to_string).collect(),
            content: message.content.to_owned(),
        }))
    }

    async fn all_devices_but(
        &self,
        user_id: &UserId,
        named: &[OwnedDeviceId],
    ) -> Result<Vec<OwnedDeviceId>, Unavailable> {
        let partition = [user_id.as_str().into()];
        let devices: Vec<DeviceRow> = self
            .archive()
            .range(partition, Range::all(), DEVICES_READ_MAX)
            .await?;
        let named: BTreeSet<_> = named.iter().collect();
        let mut bytes = 0;
        let all = devices.into_iter().map(|device| device.device_id);
        let fit = all.filter(|id| !named.contains(id)).take_while(|id| {
            bytes += id.as_str().len() + 2;
            bytes <= ALL_DEVICES_BYTES_MAX
        });
        Ok(fit.collect())
    }
}

/// Where a part comes from.
struct Origin<'a> {
    sender: &'a UserId,
    device_id: &'a DeviceId,
    request: &'a ToDeviceMessages,
    part: i64,
}

impl Origin<'_> {
    fn key(&self) -> hanse_store::Key {
        let sender = (self.sender.as_str(), self.device_id.as_str());
        let (event_type, txn_id) = (&self.request.event_type, &self.request.txn_id);
        to_device_transaction::key(sender, event_type, txn_id, self.part)
    }

    fn sent(&self, expires_at_ms: i64) -> proto::ToDeviceSent {
        proto::ToDeviceSent {
            device_id: self.device_id.to_string(),
            event_type: self.request.event_type.clone(),
            txn_id: self.request.txn_id.clone(),
            part: self.part,
            expires_at_ms,
        }
    }

    fn relay(
        &self,
        user_id: &UserId,
        messages: Vec<proto::DeviceMessage>,
        expires_at_ms: i64,
    ) -> Relay {
        let messages = proto::ToDevice {
            sender: self.sender.to_string(),
            event_type: self.request.event_type.clone(),
            messages,
            expires_at_ms,
        };
        let entry = UserEntry {
            user_id: user_id.to_string(),
            kind: Some(Kind::ToDevice(messages)),
        };
        Relay {
            key: user_id.to_string(),
            entry: Some(Entry {
                kind: Some(entry::Kind::User(entry)),
                ..Entry::default()
            }),
        }
    }
}

fn check(request: &ToDeviceMessages) -> Result<(), SendToDeviceError> {
    let ids = [&request.event_type, &request.txn_id];
    if ids.iter().any(|id| !(1..=ID_BYTES_MAX).contains(&id.len())) {
        return Err(SendToDeviceError::Id);
    }
    let mut count = 0;
    for message in request.messages.values().flat_map(BTreeMap::values) {
        let content = message.json().get();
        if !content.starts_with('{') {
            return Err(SendToDeviceError::NotAnObject);
        }
        let bytes = content.len();
        if bytes > CONTENT_BYTES_MAX {
            return Err(SendToDeviceError::TooLarge { bytes });
        }
        count += 1;
    }
    if count > MESSAGES_MAX {
        return Err(SendToDeviceError::TooMany);
    }
    Ok(())
}
