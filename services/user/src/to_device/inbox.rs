//! What waits for a device.

use hanse_cluster::travelling;
use hanse_log::Position;
use hanse_proto::{
    log::{Entry, entry},
    user::{ToDeviceRemoved, UserEntry, user_entry::Kind},
};
use hanse_store::{Range, StoreError};
use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId, events::AnyToDeviceEvent, serde::Raw};
use serde::{Deserialize, Serialize};
use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};

use crate::{
    Unavailable, Users,
    commands::command,
    tables::inbox::{self, InboxRow, TO_DEVICE_INBOX},
    turn::Turn,
};

/// Messages given at once ([spec]: "limit the number of send-to-device messages … to 100").
///
/// [spec]: https://spec.matrix.org/v1.16/client-server-api/#extensions-to-sync
const PAGE: usize = 100;
/// Messages removed with one entry. They are read for it.
const REMOVED_AT_ONCE: usize = 200;

/// Messages for a device, oldest first.
#[derive(Clone, Debug, Default)]
pub struct ToDevicePage {
    /// The messages.
    pub events: Vec<Raw<AnyToDeviceEvent>>,
    /// Where the last of them stands in the user's slot.
    pub last: Option<Position>,
    /// Whether more wait.
    pub more: bool,
}

/// Removes what a device has acknowledged.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RemoveToDevice {
    user_id: OwnedUserId,
    device_id: OwnedDeviceId,
    #[serde(with = "travelling::position")]
    up_to: Position,
}
command!(RemoveToDevice, "user.remove_to_device", of user_id,
    Users::remove_to_device_here => (), Unavailable);

impl Users {
    /// What reached a device after one position of its user's slot and not after another.
    pub async fn to_device(
        &self,
        (user_id, device_id): (&UserId, &DeviceId),
        after: Position,
        up_to: Position,
    ) -> Result<ToDevicePage, Unavailable> {
        let range = Range::after([after.packed().into()]).up_to([up_to.packed().into()]);
        let partition = inbox::partition(user_id.as_str(), device_id.as_str());
        let mut rows: Vec<InboxRow> = self.archive().range(partition, range, PAGE + 1).await?;
        let more = rows.len() > PAGE;
        rows.truncate(PAGE);
        let last = rows.last().map(|row| row.position);
        let events: Result<_, StoreError> = rows.into_iter().map(event).collect();
        Ok(ToDevicePage {
            events: events?,
            last,
            more,
        })
    }

    /// Removes messages that their device has acknowledged: all up to a position.
    pub async fn remove_to_device(
        &self,
        (user_id, device_id): (&UserId, &DeviceId),
        up_to: Position,
    ) -> Result<(), Unavailable> {
        let remove = RemoveToDevice {
            user_id: user_id.to_owned(),
            device_id: device_id.to_owned(),
            up_to,
        };
        self.routed(remove).await
    }

    async fn remove_to_device_here(&self, remove: &RemoveToDevice) -> Result<(), Unavailable> {
        let (user_id, device_id, up_to) = (&remove.user_id, &remove.device_id, remove.up_to);
        let slot = self.inner.logs.slot_of(user_id.as_str());
        let mut range = Range::at_most([up_to.packed().into()]);
        loop {
            let partition = inbox::partition(user_id.as_str(), device_id.as_str());
            let rows: Vec<InboxRow> = self
                .archive()
                .range(partition, range.clone(), REMOVED_AT_ONCE)
                .await?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            range.from = vec![last.position.packed().into()];
            range.from_exclusive = true;
            // Decided on nothing: removing twice is removing once.
            let entry = Entry {
                decided_at_ms: self.now_ms(),
                kind: Some(entry::Kind::User(UserEntry {
                    user_id: user_id.to_string(),
                    kind: Some(removed(device_id, &rows)),
                })),
                ..Entry::default()
            };
            let ticket = self.inner.logs.submit(slot, None, vec![entry])?;
            ticket.applied().await?;
            if rows.len() < REMOVED_AT_ONCE {
                return Ok(());
            }
        }
    }

    /// Removes everything that waits for a device, in its user's turn.
    pub(crate) async fn empty_inbox(
        &self,
        turn: &Turn,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<(), Unavailable> {
        loop {
            let partition = inbox::partition(user_id.as_str(), device_id.as_str());
            let rows: Vec<InboxRow> = self
                .archive()
                .range(partition, Range::all(), REMOVED_AT_ONCE)
                .await?;
            if rows.is_empty() {
                return Ok(());
            }
            self.commit_user(turn, [removed(device_id, &rows)]).await?;
        }
    }
}

fn removed(device_id: &DeviceId, rows: &[InboxRow]) -> Kind {
    Kind::ToDeviceRemoved(ToDeviceRemoved {
        device_id: device_id.to_string(),
        positions: rows.iter().map(|row| row.position.packed()).collect(),
    })
}

fn event(row: InboxRow) -> Result<Raw<AnyToDeviceEvent>, StoreError> {
    let corrupt = |error: serde_json::Error| StoreError::Corrupt {
        table: TO_DEVICE_INBOX.name,
        reason: error.to_string(),
    };
    let content = RawValue::from_string(row.content).map_err(corrupt)?;
    let event = json!({ "type": row.event_type, "sender": row.sender, "content": content });
    to_raw_value(&event).map(Raw::from_json).map_err(corrupt)
}
