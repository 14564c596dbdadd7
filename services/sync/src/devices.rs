//! Whose devices a client has to look at again ([spec]): of users whose keys changed, and of those
//! whom the client has come to share a room with; and whom it shares none with any more.
//!
//! To be told twice is harmless. Whoever is left out of `left` is told as `changed` before it matters
//! again; so rooms with many members say nothing of who is gone.
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#tracking-the-device-list-for-a-user

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};
use hanse_log::Position;
use hanse_room::UserRoom;
use moka::sync::Cache;
use ruma::{
    OwnedRoomId, OwnedUserId, RoomId, UserId, api::client::sync::sync_events::DeviceLists,
    events::room::member::MembershipState,
};

use crate::{SyncError, memory::Changed, worker::Inner};

const MEMBER: &str = "m.room.member";
const ENCRYPTION: &str = "m.room.encryption";
/// Rooms looked at together.
const ROOMS_AT_ONCE: usize = 8;
/// Members of a room that the user left who are looked at, whether they are in other rooms.
const LEFT_MEMBERS_MAX: i64 = 1_000;
/// Changes of devices of which it is remembered whether they were those of members.
const TOLD_CHANGES_MAX: u64 = 50_000;
/// Rooms of a user that are searched for somebody of another server.
const REMOTE_ROOMS_MAX: usize = 64;

/// The stretch of time that is asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own {
    pub(crate) since: Position,
    pub(crate) now: Position,
    pub(crate) changed: Changed,
}

/// The same in one room of the user.
#[derive(Debug)]
pub(crate) struct Stretch<'a> {
    pub(crate) room: &'a UserRoom,
    /// None: nothing of the room was known.
    pub(crate) since: Option<Position>,
    pub(crate) now: Position,
    /// Whether members' devices changed.
    pub(crate) devices: Changed,
    /// Whether memberships changed, or the room became encrypted.
    pub(crate) members: Changed,
}

/// Users seen in rooms.
#[derive(Debug, Default)]
struct Seen {
    changed: BTreeSet<OwnedUserId>,
    /// No longer in one room; perhaps in another.
    gone: BTreeSet<OwnedUserId>,
}

/// Whether changes of devices were those of members: each is told to all who wait in the room.
pub(crate) struct ToldChanges(Cache<(OwnedRoomId, OwnedUserId, Position), bool>);

impl Default for ToldChanges {
    fn default() -> Self {
        Self(Cache::new(TOLD_CHANGES_MAX))
    }
}

/// What happened to somebody in a room.
enum Moved {
    In,
    Out,
    /// There at neither end.
    Away,
    Nothing,
}

impl Inner {
    pub(crate) async fn device_lists(
        &self,
        user_id: &UserId,
        own: Own,
        stretches: &[Stretch<'_>],
    ) -> Result<DeviceLists, SyncError> {
        let mut seen = Vec::new();
        for stretch in stretches {
            if !stretch.is_quiet() {
                seen.push(self.seen_in(user_id, stretch));
            }
        }
        let seen = stream::iter(seen).buffer_unordered(ROOMS_AT_ONCE);
        let seen: Vec<Seen> = seen.try_collect().await?;
        let mut all = Seen::default();
        for of_room in seen {
            all.changed.extend(of_room.changed);
            all.gone.extend(of_room.gone);
        }
        all.changed.remove(user_id);
        all.gone.remove(user_id);
        let mut lists = DeviceLists::new();
        for gone in all.gone {
            if self.shares_room(&gone, stretches).await? {
                continue;
            }
            all.changed.remove(&gone);
            lists.left.push(gone);
        }
        if own.changed != Changed::No {
            all.changed.extend(self.own_changes(user_id, own).await?);
        }
        lists.changed = all.changed.into_iter().collect();
        Ok(lists)
    }

    /// What the user's own devices alone are told: of the user, and of those whose keys the user signed.
    async fn own_changes(
        &self,
        user_id: &UserId,
        Own { since, now, .. }: Own,
    ) -> Result<Vec<OwnedUserId>, SyncError> {
        let mut changed = self.users.signed_users(user_id, since, now).await?;
        if self.users.devices_changed(user_id, since, now).await? {
            changed.push(user_id.to_owned());
        }
        Ok(changed)
    }

    async fn seen_in(&self, user_id: &UserId, stretch: &Stretch<'_>) -> Result<Seen, SyncError> {
        let room_id = &stretch.room.room_id;
        let is_in = stretch.room.membership == MembershipState::Join;
        let was_in = match stretch.since {
            None => false,
            Some(_) if !stretch.moved() => is_in,
            Some(since) => self.was_joined(room_id, user_id, since).await?,
        };
        match (was_in, is_in) {
            (false, true) => Ok(Seen {
                changed: self.everybody(room_id, stretch.now).await?,
                ..Seen::default()
            }),
            (true, false) => Ok(Seen {
                // Whom the client knew there, though they may have left since, too.
                gone: self
                    .left_behind(room_id, stretch.since.unwrap_or(stretch.now))
                    .await?,
                ..Seen::default()
            }),
            (true, true) => self.between(stretch).await,
            (false, false) => Ok(Seen::default()),
        }
    }

    async fn was_joined(
        &self,
        room_id: &RoomId,
        user_id: &UserId,
        at: Position,
    ) -> Result<bool, SyncError> {
        let member = self
            .rooms
            .state(room_id, MEMBER, user_id.as_str(), at)
            .await?;
        let membership = member.and_then(|member| member.membership);
        Ok(membership.as_deref() == Some("join"))
    }

    /// Everybody who is in a room, or invited, if its members are told of each other.
    async fn everybody(
        &self,
        room_id: &RoomId,
        now: Position,
    ) -> Result<BTreeSet<OwnedUserId>, SyncError> {
        if !self.rooms.tells_devices(room_id).await? {
            return Ok(BTreeSet::new());
        }
        let members = self.rooms.members(room_id, now).await?.into_iter();
        let present = members.filter(|member| counts(member.membership.as_deref()));
        Ok(present
            .filter_map(|member| member.state_key.try_into().ok())
            .collect())
    }

    async fn left_behind(
        &self,
        room_id: &RoomId,
        at: Position,
    ) -> Result<BTreeSet<OwnedUserId>, SyncError> {
        let head = self.rooms.head(room_id).await?;
        if head.is_none_or(|head| head.head.joined_members > LEFT_MEMBERS_MAX) {
            return Ok(BTreeSet::new());
        }
        self.everybody(room_id, at).await
    }

    /// What happened in a room that the user is and was in.
    async fn between(&self, stretch: &Stretch<'_>) -> Result<Seen, SyncError> {
        let room_id = &stretch.room.room_id;
        let (since, now) = (stretch.since.unwrap_or(stretch.now), stretch.now);
        let mut seen = Seen::default();
        if stretch.devices != Changed::No {
            for (user_id, at) in self.rooms.device_changes(room_id, since, now).await? {
                if self.was_told_as_member(room_id, &user_id, at).await? {
                    seen.changed.insert(user_id);
                }
            }
        }
        if stretch.members == Changed::No {
            return Ok(seen);
        }
        let mut moved = BTreeSet::new();
        for change in self.rooms.state_changes(room_id, since, now).await? {
            if change.event_type == ENCRYPTION && change.previous_event_id.is_none() {
                seen.changed.extend(self.everybody(room_id, now).await?);
            } else if change.event_type == MEMBER {
                moved.insert(change.state_key);
            }
        }
        if moved.is_empty() || !self.rooms.tells_devices(room_id).await? {
            return Ok(seen);
        }
        for member in moved {
            let Ok(user_id) = OwnedUserId::try_from(member) else {
                continue;
            };
            match self.movement(room_id, &user_id, since, now).await? {
                Moved::In => seen.changed.insert(user_id),
                Moved::Out => seen.gone.insert(user_id),
                // Whatever changed while they were there: nobody here was told that they came.
                Moved::Away => seen.changed.remove(&user_id),
                Moved::Nothing => false,
            };
        }
        Ok(seen)
    }

    /// Whether a member's devices changed, or those of somebody who had left: the room is told of a
    /// change after the rooms of its user were read.
    async fn was_told_as_member(
        &self,
        room_id: &RoomId,
        user_id: &UserId,
        at: Position,
    ) -> Result<bool, SyncError> {
        let change = (room_id.to_owned(), user_id.to_owned(), at);
        if let Some(was_member) = self.told_changes.0.get(&change) {
            return Ok(was_member);
        }
        let member = self
            .rooms
            .state(room_id, MEMBER, user_id.as_str(), at)
            .await?;
        let was_member = counts(member.and_then(|member| member.membership).as_deref());
        self.told_changes.0.insert(change, was_member);
        Ok(was_member)
    }

    async fn movement(
        &self,
        room_id: &RoomId,
        user_id: &UserId,
        since: Position,
        now: Position,
    ) -> Result<Moved, SyncError> {
        let mut present = [false; 2];
        for (present, at) in present.iter_mut().zip([since, now]) {
            let member = self
                .rooms
                .state(room_id, MEMBER, user_id.as_str(), at)
                .await?;
            *present = counts(member.and_then(|member| member.membership).as_deref());
        }
        Ok(match present {
            [false, true] => Moved::In,
            [true, false] => Moved::Out,
            [false, false] => Moved::Away,
            [true, true] if self.was_away(room_id, user_id, since, now).await? => Moved::In,
            [true, true] => Moved::Nothing,
        })
    }

    /// Whether somebody who is there at both ends was out of the room in between: what changed of
    /// their devices then was told to nobody here.
    async fn was_away(
        &self,
        room_id: &RoomId,
        user_id: &UserId,
        since: Position,
        now: Position,
    ) -> Result<bool, SyncError> {
        let key = (MEMBER, user_id.as_str());
        let versions = self
            .rooms
            .state_versions_between(room_id, key, since, now)
            .await?;
        let memberships = versions.into_iter().map(|(_, state)| state?.membership);
        Ok(memberships.into_iter().any(|is| !counts(is.as_deref())))
    }

    /// Whether somebody is in a room that the user is in, of those whose members are told of each
    /// other.
    async fn shares_room(
        &self,
        other: &UserId,
        stretches: &[Stretch<'_>],
    ) -> Result<bool, SyncError> {
        let joined = stretches
            .iter()
            .filter(|stretch| stretch.room.membership == MembershipState::Join);
        let joined: BTreeSet<&OwnedRoomId> = joined.map(|stretch| &stretch.room.room_id).collect();
        for room_id in self.rooms_of(other, &joined).await? {
            if self.rooms.tells_devices(&room_id).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Which of these rooms somebody is in. Of a user of another server there is no list of rooms:
    /// each is looked at, and of too many it is taken that the user is in one.
    async fn rooms_of(
        &self,
        other: &UserId,
        joined: &BTreeSet<&OwnedRoomId>,
    ) -> Result<Vec<OwnedRoomId>, SyncError> {
        let mut theirs = Vec::new();
        if self.users.is_local(other) {
            for room in self.rooms.user_rooms(other).await? {
                if counts(Some(room.membership.as_str())) && joined.contains(&room.room_id) {
                    theirs.push(room.room_id);
                }
            }
            return Ok(theirs);
        }
        if joined.len() > REMOTE_ROOMS_MAX {
            return Ok(joined.iter().map(|room_id| (*room_id).clone()).collect());
        }
        for room_id in joined {
            let member = self
                .rooms
                .state(room_id, MEMBER, other.as_str(), Position::END)
                .await?;
            if counts(member.and_then(|member| member.membership).as_deref()) {
                theirs.push((*room_id).clone());
            }
        }
        Ok(theirs)
    }
}

impl Stretch<'_> {
    /// Whether the user's own membership changed.
    fn moved(&self) -> bool {
        self.since.is_none_or(|since| self.room.position > since)
    }

    fn is_quiet(&self) -> bool {
        !self.moved() && self.devices == Changed::No && self.members == Changed::No
    }
}

/// Whether others encrypt for somebody with this membership.
fn counts(membership: Option<&str>) -> bool {
    matches!(membership, Some("join" | "invite"))
}
