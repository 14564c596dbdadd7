//! The rooms of a user.

use hanse_log::Position;
use hanse_store::{Range, StoreError};
use ruma::{OwnedEventId, OwnedRoomId, RoomId, UserId, events::room::member::MembershipState};

use super::{RoomReader, TimelineEvent};
use crate::tables::{USER_ROOMS, UserRoomRow, corrupt};

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
    /// From a membership entry as it was applied: `(membership, previous)`, and the event's id,
    /// bucket and position. `None` if the id is none.
    pub fn of_entry(
        room_id: OwnedRoomId,
        (membership, previous): (MembershipState, Option<MembershipState>),
        (event_id, bucket, position): (&str, i64, Position),
        stripped_state: Option<String>,
    ) -> Option<Self> {
        let event_id = OwnedEventId::try_from(event_id).ok()?;
        Some(Self {
            room_id,
            membership,
            previous,
            position,
            event_id,
            stripped_state,
            bucket,
        })
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
        self.event_at(&room.room_id, room.bucket, room.position)
            .await
    }
}
