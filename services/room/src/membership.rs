//! Memberships: join, leave, invite, kick, ban, unban, knock.

use hanse_event::{Draft, Pdu};
use ruma::{
    CanonicalJsonObject, OwnedRoomId, OwnedUserId, RoomId, UserId,
    events::room::member::MembershipState,
};
use serde::{Deserialize, Serialize};

use crate::{
    NewEvent, RoomError, Rooms, Sent,
    entry::is_local,
    hot::Hot,
    rooms::{Change, Decided, Inner},
    tables::TransactionKey,
};

/// A change of somebody's membership.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MembershipChange {
    /// Who does it.
    pub sender: OwnedUserId,
    /// Whose membership changes.
    pub target: OwnedUserId,
    /// What to.
    pub action: MembershipAction,
    /// Further content: `displayname`, `avatar_url`, `reason`, `is_direct`.
    pub content: CanonicalJsonObject,
    /// The client's transaction, if it named one.
    pub transaction: Option<TransactionKey>,
}

/// What is done to a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MembershipAction {
    /// `join`; nothing happens to who has joined with the same content.
    Join,
    /// The same, for who has joined already: a changed profile.
    UpdateProfile,
    /// `invite`.
    Invite,
    /// `leave` by the user themself.
    Leave,
    /// `leave` by somebody else, of who is in the room or invited.
    Kick,
    /// `ban`.
    Ban,
    /// `leave` by somebody else, of who is banned.
    Unban,
    /// `knock`.
    Knock,
}

impl MembershipAction {
    fn membership(self) -> MembershipState {
        match self {
            Self::Join | Self::UpdateProfile => MembershipState::Join,
            Self::Invite => MembershipState::Invite,
            Self::Leave | Self::Kick | Self::Unban => MembershipState::Leave,
            Self::Ban => MembershipState::Ban,
            Self::Knock => MembershipState::Knock,
        }
    }
}

impl Rooms {
    /// Changes a membership.
    pub async fn change_membership(
        &self,
        room_id: &RoomId,
        change: MembershipChange,
    ) -> Result<Sent, RoomError> {
        self.change(room_id, Change::Membership(change)).await
    }
}

impl Inner {
    pub(crate) async fn decide_membership(
        &self,
        hot: &mut Hot,
        mut change: MembershipChange,
    ) -> Result<Decided, RoomError> {
        hot.ensure_member(&self.reader, change.target.as_str())
            .await?;
        hot.ensure_member(&self.reader, change.sender.as_str())
            .await?;
        let present = hot.state("m.room.member", change.target.as_str()).cloned();
        if let Some(event_id) = already(&change, present.as_ref())? {
            return Ok(event_id);
        }
        if change.action == MembershipAction::Join {
            self.authorise_restricted_join(hot, &mut change, present.as_ref())
                .await?;
        }
        let membership = change.action.membership().to_string();
        change
            .content
            .insert("membership".to_owned(), membership.into());
        let MembershipChange {
            sender,
            target,
            content,
            transaction,
            ..
        } = change;
        let draft = Draft::state(sender, "m.room.member", target.to_string(), content);
        let event = NewEvent {
            draft,
            transaction,
            timestamp: None,
        };
        self.decide_event(hot, event).await
    }

    /// Names a member of ours who may invite, where the join rule is `restricted` and the user is
    /// in one of the rooms that it names ([spec]).
    ///
    /// [spec]: https://spec.matrix.org/v1.16/client-server-api/#restricted-rooms
    async fn authorise_restricted_join(
        &self,
        hot: &mut Hot,
        change: &mut MembershipChange,
        present: Option<&Pdu>,
    ) -> Result<(), RoomError> {
        let in_already = matches!(
            present.and_then(Pdu::membership),
            Some(MembershipState::Join | MembershipState::Invite)
        );
        let allowed_by = restricted_to(hot);
        if in_already || allowed_by.is_empty() {
            return Ok(());
        }
        if !self.joined_any(&change.target, &allowed_by).await? {
            return Err(RoomError::forbidden(
                "you are in none of the rooms that let you join",
            ));
        }
        let Some(inviter) = self.local_inviter(hot).await? else {
            return Err(RoomError::forbidden(
                "nobody here may let you join this room",
            ));
        };
        let key = "join_authorised_via_users_server".to_owned();
        change.content.insert(key, inviter.to_string().into());
        Ok(())
    }

    async fn joined_any(&self, user: &UserId, rooms: &[OwnedRoomId]) -> Result<bool, RoomError> {
        for room_id in rooms {
            let room = self.reader.user_room(user, room_id).await?;
            if room.is_some_and(|room| room.membership == MembershipState::Join) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A joined user of ours who may invite; looked for among those with a power level of their
    /// own, which keeps it a bounded search.
    async fn local_inviter(&self, hot: &mut Hot) -> Result<Option<OwnedUserId>, RoomError> {
        for user in hot.users_who_may_invite()? {
            if !is_local(&user, &self.server_name) {
                continue;
            }
            hot.ensure_member(&self.reader, user.as_str()).await?;
            let member = hot.state("m.room.member", user.as_str());
            if member.and_then(Pdu::membership) == Some(MembershipState::Join) {
                return Ok(Some(user));
            }
        }
        Ok(None)
    }
}

/// What needs no event, or cannot be one, seen from the present membership.
fn already(change: &MembershipChange, present: Option<&Pdu>) -> Result<Option<Decided>, RoomError> {
    use MembershipAction as A;
    let membership = present.and_then(Pdu::membership);
    let done = present.map(|pdu| Decided::Already(pdu.event_id().to_owned()));
    match (change.action, membership) {
        (A::Join, Some(MembershipState::Join)) | (A::Leave, Some(MembershipState::Leave)) => {
            Ok(done)
        }
        (A::Join, Some(MembershipState::Ban)) => {
            Err(RoomError::forbidden("you are banned from this room"))
        }
        (A::UpdateProfile, Some(MembershipState::Join))
        | (
            A::Kick,
            Some(MembershipState::Join | MembershipState::Invite | MembershipState::Knock),
        )
        | (A::Unban, Some(MembershipState::Ban)) => Ok(None),
        (A::Leave, None) => Err(RoomError::forbidden("you are not in this room")),
        (A::UpdateProfile | A::Kick, _) => Err(RoomError::forbidden("the user is not in the room")),
        (A::Unban, _) => Err(RoomError::forbidden("the user is not banned")),
        _ => Ok(None),
    }
}

/// The rooms whose members may join, if the join rule says so.
fn restricted_to(hot: &Hot) -> Vec<OwnedRoomId> {
    #[derive(Deserialize)]
    struct Rules {
        join_rule: String,
        #[serde(default)]
        allow: Vec<Allow>,
    }
    #[derive(Deserialize)]
    struct Allow {
        room_id: Option<OwnedRoomId>,
    }
    let rules = hot
        .state("m.room.join_rules", "")
        .and_then(|pdu| pdu.content_as::<Rules>().ok());
    match rules {
        Some(rules) if matches!(rules.join_rule.as_str(), "restricted" | "knock_restricted") => {
            rules
                .allow
                .into_iter()
                .filter_map(|allow| allow.room_id)
                .collect()
        }
        _ => Vec::new(),
    }
}
