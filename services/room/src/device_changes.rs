//! Carrying changed devices into the rooms of their user: a durable consumer of the users' slots.
//!
//! The new keys are durable first, then the rooms are read, then each slot gets one entry that lists
//! its rooms. So whoever is told finds the new keys, and whoever comes to share a room after it was
//! read is told of the whole user then. After a crash a change is carried again, which says nothing
//! wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use hanse_cluster::Command;
use hanse_log::{AppliedBatch, Consumer, Position, Slot};
use hanse_proto::{
    log::{Entry, entry::Kind},
    room::{MemberDevicesChanged, RoomEntry, room_entry},
    user::{UserEntry, user_entry},
};
use hanse_store::StoreError;
use ruma::{OwnedRoomId, UserId, events::room::member::MembershipState};

use crate::{
    RoomError, Rooms, UserRoom,
    commands::TellDevices,
    tables::{DEVICE_CHANGE_POSITIONS, last_change, last_change_key},
};

/// The consumer's name, for [`hanse_log::LogParts::consumers`].
pub const CONSUMER: &str = "device-changes";
/// Rooms listed in one entry: some 50 KiB.
const ROOMS_LISTED_MAX: usize = 1_000;
/// Rooms, or slots, looked at together.
const AT_ONCE: usize = 16;

/// The consumer.
pub(crate) struct DeviceChanges {
    rooms: Rooms,
}

impl Rooms {
    /// Carries changed devices into rooms, from here on until the process drains.
    pub fn carry_device_changes(&self) {
        let rooms = self.clone();
        self.inner
            .logs
            .run_consumer(&Arc::new(DeviceChanges { rooms }));
    }

    /// Writes that a user's devices changed, into the slot of the rooms that it lists.
    pub(crate) async fn tell_devices_here(&self, told: &TellDevices) -> Result<(), RoomError> {
        let inner = &self.inner;
        let TellDevices { user_id, part, .. } = told;
        let slot = inner.logs.slot_of(told.key());
        let key = last_change_key(user_id.as_str(), slot.0, *part);
        let before = inner.reader.get(&DEVICE_CHANGE_POSITIONS, &key).await?;
        let before = before.as_ref().map(last_change).transpose()?;
        let changed = MemberDevicesChanged {
            user_id: user_id.to_string(),
            room_ids: told.room_ids.iter().map(ToString::to_string).collect(),
            slot: slot.0,
            previous_position: before.map_or(0, Position::packed),
            part: *part,
        };
        let entry = Entry {
            decided_at_ms: inner.clock.now_ms(),
            kind: Some(Kind::Room(RoomEntry {
                room_id: told.key().to_owned(),
                kind: Some(room_entry::Kind::MemberDevicesChanged(changed)),
            })),
            ..Entry::default()
        };
        let ticket = inner.logs.submit(slot, None, vec![entry])?;
        ticket.applied().await?;
        Ok(())
    }
}

#[async_trait]
impl Consumer for DeviceChanges {
    type Error = RoomError;

    fn name(&self) -> &'static str {
        CONSUMER
    }

    async fn consume(&self, batch: &AppliedBatch) -> Result<(), RoomError> {
        let changed: BTreeSet<&str> = batch.entries.iter().filter_map(changed_user).collect();
        for user_id in changed {
            if let Ok(user_id) = <&UserId>::try_from(user_id) {
                self.carry(user_id).await?;
            }
        }
        Ok(())
    }
}

impl DeviceChanges {
    async fn carry(&self, user_id: &UserId) -> Result<(), RoomError> {
        let (logs, reader) = (&self.rooms.inner.logs, self.rooms.reader());
        let rooms = reader.user_rooms(user_id).await?;
        let told = stream::iter(rooms.into_iter().filter(is_in)).map(async |room| {
            let tells = reader.tells_devices(&room.room_id).await?;
            Ok::<_, StoreError>(tells.then_some(room.room_id))
        });
        let told: Vec<_> = told.buffer_unordered(AT_ONCE).try_collect().await?;
        let mut by_slot: BTreeMap<Slot, BTreeSet<OwnedRoomId>> = BTreeMap::new();
        for room_id in told.into_iter().flatten() {
            let slot = logs.slot_of(room_id.as_str());
            by_slot.entry(slot).or_default().insert(room_id);
        }
        stream::iter(by_slot.into_values())
            .map(async |rooms| self.tell(user_id, rooms).await)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// Tells one slot of its rooms.
    async fn tell(&self, user_id: &UserId, rooms: BTreeSet<OwnedRoomId>) -> Result<(), RoomError> {
        let rooms: Vec<_> = rooms.into_iter().collect();
        for (part, room_ids) in (0..).zip(rooms.chunks(ROOMS_LISTED_MAX)) {
            let told = TellDevices {
                user_id: user_id.to_owned(),
                room_ids: room_ids.to_vec(),
                part,
            };
            self.rooms.routed(told).await?;
        }
        Ok(())
    }
}

fn changed_user(entry: &Entry) -> Option<&str> {
    match &entry.kind {
        Some(Kind::User(UserEntry {
            user_id,
            kind: Some(user_entry::Kind::DeviceChanged(_)),
        })) => Some(user_id),
        _ => None,
    }
}

/// Whether others in the room encrypt for the user: also for who is invited, who may read what was
/// sent since then.
fn is_in(room: &UserRoom) -> bool {
    matches!(
        room.membership,
        MembershipState::Join | MembershipState::Invite
    )
}
