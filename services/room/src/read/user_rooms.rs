//! The rooms of a user.

use hanse_log::Position;
use hanse_proto::room::RoomEntry;
use hanse_store::{Range, StoreError};
use ruma::{OwnedEventId, OwnedRoomId, RoomId, UserId, events::room::member::MembershipState};

use super::{RoomReader, TimelineEvent};
use crate::{
    rows::local_membership,
    tables::{BY_ID, USER_ROOMS, UserRoomRow, corrupt},
};

/// A local user's membership in a room, as it is now.
#[derive(Clone, Debug)]
pub struct UserRoom {
    /// The room.
    pub room_id: OwnedRoomId,
    /// The membership.
    pub membership: MembershipState,
    /// The membership before.
    pub previous: Option<MembershipState>,
    /// When it took effect, in the room's slot.
    pub position: Position,
    /// The membership event.
    pub event_id: OwnedEventId,
    /// For invites and knocks: a JSON array of stripped state events.
    pub stripped_state: Option<String>,
    bucket: i64,
}

impl UserRoom {
    /// The local user whose membership an entry changes, as it was applied at a position, and the
    /// membership from there on. `None`: it changes none, or its ids are none.
    pub fn of_entry(entry: &RoomEntry, position: Position) -> Option<(&str, Self)> {
        let (user_id, row) = local_membership(entry, position)?;
        Some((user_id, Self::of(row).ok()?))
    }

    /// From a membership whose event stands in no timeline: `(membership, previous)`, and the event's
    /// id and position. `None` if the id is none.
    pub fn of_entry_by_id(
        room_id: OwnedRoomId,
        memberships: (MembershipState, Option<MembershipState>),
        (event_id, position): (&str, Position),
        stripped_state: Option<String>,
    ) -> Option<Self> {
        let (membership, previous) = memberships;
        let event_id = OwnedEventId::try_from(event_id).ok()?;
        Some(Self {
            room_id,
            membership,
            previous,
            position,
            event_id,
            stripped_state,
            bucket: BY_ID,
        })
    }

    /// Whether the membership came out of band, so that its event is in no timeline.
    pub fn is_out_of_band(&self) -> bool {
        self.bucket == BY_ID
    }

    fn of(row: UserRoomRow) -> Result<Self, StoreError> {
        let room_id = OwnedRoomId::try_from(row.room_id).map_err(|e| corrupt(&USER_ROOMS, e))?;
        let event_id = OwnedEventId::try_from(row.event_id).map_err(|e| corrupt(&USER_ROOMS, e))?;
        Ok(Self {
            room_id,
            membership: row.membership.into(),
            previous: row.previous.map(Into::into),
            position: row.position,
            event_id,
            stripped_state: row.stripped_state,
            bucket: row.bucket,
        })
    }
}

impl RoomReader {
    /// Every room that a local user has or had a membership in, as it is now.
    pub async fn user_rooms(&self, user_id: &UserId) -> Result<Vec<UserRoom>, StoreError> {
        let partition = UserRoomRow::partition(user_id.as_str());
        let rows = self.all(&USER_ROOMS, partition, Range::all()).await?;
        rows.iter()
            .map(|row| UserRoom::of(UserRoomRow::read(row)?))
            .collect()
    }

    /// A local user's membership in one room, as it is now.
    pub async fn user_room(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
    ) -> Result<Option<UserRoom>, StoreError> {
        let key = UserRoomRow::key(user_id.as_str(), room_id.as_str());
        let row = self.get(&USER_ROOMS, &key).await?;
        row.map(|row| UserRoom::of(UserRoomRow::read(&row)?))
            .transpose()
    }

    /// The membership event itself.
    pub async fn membership_event(
        &self,
        room: &UserRoom,
    ) -> Result<Option<TimelineEvent>, StoreError> {
        self.body(&room.room_id, room.bucket, room.position, &room.event_id)
            .await
    }
}
