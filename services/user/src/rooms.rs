//! What a user's own slot knows of rooms: which were forgotten, and which memberships changed.

use hanse_cluster::travelling;
use hanse_log::Position;
use hanse_proto::user::{self as proto, user_entry::Kind};
use hanse_store::Range;
use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId, events::room::member::MembershipState};
use serde::{Deserialize, Serialize};

use crate::{
    Unavailable, Users,
    commands::command,
    tables::{
        forgotten_room::{self, ForgottenRoomRow},
        membership_feed::MembershipFeedRow,
    },
};

/// Most forgotten rooms read of one user.
const FORGOTTEN_READ_MAX: usize = 100_000;

/// A room that a user forgot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgottenRoom {
    /// The room.
    pub room_id: OwnedRoomId,
    /// The leave that was forgotten, in the room's slot.
    pub left_position: Position,
    /// When it was forgotten, in the user's slot.
    pub position: Position,
}

impl ForgottenRoom {
    /// Whether the room is still forgotten, given where the user's membership of today stands in
    /// the room's slot: whoever comes back remembers.
    pub fn covers(&self, membership_position: Position) -> bool {
        membership_position <= self.left_position
    }
}

/// A membership of a user that changed, as the room's slot told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembershipNoticed {
    /// The room.
    pub room_id: OwnedRoomId,
    /// The membership from then on.
    pub membership: MembershipState,
    /// Where it reached the user's slot.
    pub position: Position,
}

/// Forgets a room up to a leave.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ForgetRoom {
    user_id: OwnedUserId,
    room_id: OwnedRoomId,
    #[serde(with = "travelling::position")]
    left_position: Position,
}
command!(ForgetRoom, "user.forget_room", of user_id, Users::forget_room_here => (), Unavailable);

impl Users {
    /// Forgets a room that the user has left; `left_position` is that leave's, in the room's slot.
    /// That the user is out of the room is the caller's to check.
    pub async fn forget_room(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        left_position: Position,
    ) -> Result<(), Unavailable> {
        let forget = ForgetRoom {
            user_id: user_id.to_owned(),
            room_id: room_id.to_owned(),
            left_position,
        };
        self.routed(forget).await
    }

    async fn forget_room_here(&self, forget: &ForgetRoom) -> Result<(), Unavailable> {
        let (user_id, room_id, left_position) =
            (&forget.user_id, &forget.room_id, forget.left_position);
        let turn = self.user_turn(user_id).await?;
        let known = self.forgotten_room(user_id, room_id).await?;
        if known.is_some_and(|known| known.covers(left_position)) {
            return Ok(());
        }
        let forgotten = proto::RoomForgotten {
            room_id: room_id.to_string(),
            left_position: left_position.packed(),
        };
        self.commit_user(&turn, [Kind::RoomForgotten(forgotten)])
            .await?;
        Ok(())
    }

    /// Whether and up to where the user forgot a room ([`ForgottenRoom::covers`]).
    pub async fn forgotten_room(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
    ) -> Result<Option<ForgottenRoom>, Unavailable> {
        let key = forgotten_room::key(user_id.as_str(), room_id.as_str());
        let row: Option<ForgottenRoomRow> = self.archive().get(key).await?;
        Ok(row.map(forgotten))
    }

    /// Every room that the user ever forgot, by id.
    pub async fn forgotten_rooms(
        &self,
        user_id: &UserId,
    ) -> Result<Vec<ForgottenRoom>, Unavailable> {
        let partition = [user_id.as_str().into()];
        let rows: Vec<ForgottenRoomRow> = self
            .archive()
            .range(partition, Range::all(), FORGOTTEN_READ_MAX)
            .await?;
        Ok(rows.into_iter().map(forgotten).collect())
    }

    /// Memberships that changed after one position of the user's slot and not after another, in
    /// that order, at most `changes_max`: whoever gets so many asks again after the last one.
    pub async fn memberships_noticed(
        &self,
        user_id: &UserId,
        after: Position,
        up_to: Position,
        changes_max: usize,
    ) -> Result<Vec<MembershipNoticed>, Unavailable> {
        let range = Range::after([after.packed().into()]).up_to([up_to.packed().into()]);
        let partition = [user_id.as_str().into()];
        let rows: Vec<MembershipFeedRow> =
            self.archive().range(partition, range, changes_max).await?;
        let noticed = rows.into_iter().map(|row| MembershipNoticed {
            room_id: row.room_id,
            membership: MembershipState::from(row.membership),
            position: row.position,
        });
        Ok(noticed.collect())
    }
}

fn forgotten(row: ForgottenRoomRow) -> ForgottenRoom {
    ForgottenRoom {
        room_id: row.room_id,
        left_position: row.left_position,
        position: row.position,
    }
}
