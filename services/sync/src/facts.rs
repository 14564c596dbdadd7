//! What every answer asks again: a user's push rules and receipts, a device's keys, what push rules ask
//! of a room. Kept for as long as the memory knows of no change, so that an answer to an online user
//! reads none of it.
//!
//! Invariant: what is kept was read when everything up to `as_of` was in the archives; it holds until
//! the memory sees a change after that.

use std::{hash::Hash, sync::Arc};

use hanse_event::{Pdu, power, room_version};
use hanse_log::Position;
use hanse_room::ReceiptAt;
use hanse_user::{KeyStatus, PushRules};
use moka::sync::Cache;
use ruma::{
    OwnedDeviceId, OwnedRoomId, OwnedUserId, RoomVersionId,
    push::{PushConditionPowerLevelsCtx, PushConditionRoomCtx},
};
use serde::Deserialize;

use crate::{
    SyncError,
    answer::RoomAt,
    ask::Ask,
    memory::{Changed, Memory},
    worker::Inner,
};

/// Of each sort, so many are kept; more than users are online at one worker.
const HELD_MAX: u64 = 50_000;
/// Receipts and names are kept for each user and room.
const HELD_BY_ROOM_MAX: u64 = 200_000;

type UserInRoom = (OwnedUserId, OwnedRoomId);
type Kept<K, T> = Cache<K, Arc<Held<T>>>;

/// Something that was read, and when.
#[derive(Debug)]
pub(crate) struct Held<T> {
    as_of: Position,
    pub(crate) value: T,
}

/// What push rules ask of a room, whoever it is for.
#[derive(Debug)]
struct RoomFacts {
    members: u64,
    levels: Option<PushConditionPowerLevelsCtx>,
}

/// What is kept.
#[derive(Debug)]
pub(crate) struct Facts {
    rules: Kept<OwnedUserId, PushRules>,
    keys: Kept<(OwnedUserId, OwnedDeviceId), KeyStatus>,
    rooms: Kept<OwnedRoomId, RoomFacts>,
    names: Kept<UserInRoom, String>,
    receipts: Kept<UserInRoom, Vec<ReceiptAt>>,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            rules: Cache::new(HELD_MAX),
            keys: Cache::new(HELD_MAX),
            rooms: Cache::new(HELD_MAX),
            names: Cache::new(HELD_BY_ROOM_MAX),
            receipts: Cache::new(HELD_BY_ROOM_MAX),
        }
    }
}

impl Inner {
    /// The user's push rules.
    pub(crate) async fn push_rules(&self, ask: &Ask) -> Result<Arc<Held<PushRules>>, SyncError> {
        let slot = self.logs.slot_of(ask.user_id.as_str());
        let as_of = self.memory.read().seen(slot);
        let changed = |memory: &Memory, after| memory.user_changed(&ask.user_id, slot, after);
        let read = async { Ok(self.users.push_rules(&ask.user_id).await?) };
        let rules = &self.facts.rules;
        self.held(rules, ask.user_id.clone(), as_of, changed, read)
            .await
    }

    /// What the device has left of its keys.
    pub(crate) async fn own_keys(&self, ask: &Ask) -> Result<Arc<Held<KeyStatus>>, SyncError> {
        let slot = self.logs.slot_of(ask.user_id.as_str());
        let as_of = self.memory.read().seen(slot);
        let changed = |memory: &Memory, after| memory.keys_changed(&ask.user_id, slot, after);
        let read = async { Ok(self.users.key_status(&ask.user_id, &ask.device_id).await?) };
        let device = (ask.user_id.clone(), ask.device_id.clone());
        self.held(&self.facts.keys, device, as_of, changed, read)
            .await
    }

    /// The user's own receipts in a room, private ones too.
    pub(crate) async fn own_receipts(
        &self,
        ask: &Ask,
        at: &RoomAt,
    ) -> Result<Arc<Held<Vec<ReceiptAt>>>, SyncError> {
        let (user_id, room_id) = (&ask.user_id, &at.room.room_id);
        let as_of = self.memory.read().seen(at.slot);
        let changed =
            |memory: &Memory, after| memory.receipts_changed((user_id, room_id), at.slot, after);
        let read = async { Ok(self.rooms.own_receipts(room_id, user_id).await?) };
        let key = (user_id.clone(), room_id.clone());
        self.held(&self.facts.receipts, key, as_of, changed, read)
            .await
    }

    /// What the conditions of push rules ask about.
    pub(crate) async fn push_context(
        &self,
        ask: &Ask,
        at: &RoomAt,
    ) -> Result<PushConditionRoomCtx, SyncError> {
        let room_id = &at.room.room_id;
        let changed = |memory: &Memory, after| memory.state_changed(room_id, at.slot, after);
        let facts = &self.facts;
        let room = self.room_facts(at);
        let room = self
            .held(&facts.rooms, room_id.clone(), at.now, changed, room)
            .await?;
        let (key, name) = (
            (ask.user_id.clone(), room_id.clone()),
            self.own_name(ask, at),
        );
        let name = self.held(&facts.names, key, at.now, changed, name).await?;
        let mut context = PushConditionRoomCtx::new(
            room_id.clone(),
            room.value.members.try_into().unwrap_or_default(),
            ask.user_id.clone(),
            name.value.clone(),
        );
        context.power_levels.clone_from(&room.value.levels);
        Ok(context)
    }

    /// What is kept, if nothing changed since; else it is read.
    async fn held<K, T>(
        &self,
        kept: &Kept<K, T>,
        key: K,
        as_of: Position,
        changed: impl Fn(&Memory, Position) -> Changed,
        read: impl Future<Output = Result<T, SyncError>>,
    ) -> Result<Arc<Held<T>>, SyncError>
    where
        K: Eq + Hash + Send + Sync + 'static,
        T: Send + Sync + 'static,
    {
        if let Some(held) = kept.get(&key) {
            // Also for an answer as of an earlier moment than the one that it was read for.
            let after = held.as_of.min(as_of);
            if changed(&self.memory.read(), after) == Changed::No {
                return Ok(held);
            }
        }
        let value = read.await?;
        let held = Arc::new(Held { as_of, value });
        kept.insert(key, Arc::clone(&held));
        Ok(held)
    }

    async fn own_name(&self, ask: &Ask, at: &RoomAt) -> Result<String, SyncError> {
        let user_id = ask.user_id.as_str();
        let own = self
            .rooms
            .state_event(&at.room.room_id, "m.room.member", user_id, at.now);
        let name = own.await?.and_then(|own| display_name(&own.pdu));
        Ok(name.unwrap_or_default())
    }

    async fn room_facts(&self, at: &RoomAt) -> Result<RoomFacts, SyncError> {
        let Some(head) = self.rooms.head(&at.room.room_id).await? else {
            return Ok(RoomFacts {
                members: 0,
                levels: None,
            });
        };
        let head = head.head;
        Ok(RoomFacts {
            members: u64::try_from(head.joined_members).unwrap_or_default(),
            levels: self.push_levels(at, &head.room_version).await?,
        })
    }

    async fn push_levels(
        &self,
        at: &RoomAt,
        version: &str,
    ) -> Result<Option<PushConditionPowerLevelsCtx>, SyncError> {
        let room_id = &at.room.room_id;
        let state = |event_type| self.rooms.state_event(room_id, event_type, "", at.now);
        let create = state("m.room.create").await?;
        let levels = state("m.room.power_levels").await?;
        let Some(create) = create else {
            return Ok(None);
        };
        let version = RoomVersionId::try_from(version).ok();
        let rules = version.and_then(|version| room_version::rules(&version).ok());
        let levels = rules.and_then(|rules| {
            power::power_levels(&create.pdu, levels.as_ref().map(|event| &event.pdu), rules).ok()
        });
        Ok(levels.map(Into::into))
    }
}

fn display_name(member: &Pdu) -> Option<String> {
    #[derive(Deserialize)]
    struct Content {
        displayname: Option<String>,
    }
    member.content_as::<Content>().ok()?.displayname
}
