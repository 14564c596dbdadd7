//! Memberships as clients change them: with the profile of whom they are about, in rooms that may
//! be named by an alias.

use hanse_log::Position;
use hanse_room::{MembershipAction, MembershipChange, Rooms};
use hanse_user::{PutAccountDataError, Users};
use ruma::{
    CanonicalJsonObject, OwnedRoomId, OwnedRoomOrAliasId, RoomId, UserId,
    api::error::ErrorKind,
    events::room::{create::RoomCreateEventContent, member::MembershipState},
};

use crate::{aliases::Aliases, error::ApiError, member_profiles::MemberProfiles};

/// Changes memberships.
#[derive(Clone, Debug)]
pub(crate) struct Memberships {
    pub(crate) users: Users,
    pub(crate) rooms: Rooms,
    pub(crate) profiles: MemberProfiles,
    pub(crate) aliases: Aliases,
}

/// What comes with an invite.
#[derive(Clone, Debug, Default)]
pub(crate) struct Invitation {
    /// Why.
    pub(crate) reason: Option<String>,
    /// Whether it begins a direct chat.
    pub(crate) is_direct: bool,
}

impl Memberships {
    /// Changes the sender's own membership, with their profile. Whoever joins a room that replaces one
    /// of theirs finds it as they had set the old one.
    pub(crate) async fn own(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        action: MembershipAction,
        reason: Option<String>,
    ) -> Result<(), ApiError> {
        if action == MembershipAction::Join {
            // Before they are in: a join that is repeated after a crash does it again, later ones do not.
            self.settle_in(user_id, room_id).await?;
        }
        let content = match action {
            MembershipAction::Leave => CanonicalJsonObject::new(),
            _ => self.profiles.content(user_id).await?,
        };
        self.change(
            user_id,
            room_id,
            user_id,
            action,
            with_reason(content, reason),
        )
        .await
    }

    /// Kicks, bans or unbans.
    pub(crate) async fn moderate(
        &self,
        sender: &UserId,
        room_id: &RoomId,
        target: &UserId,
        action: MembershipAction,
        reason: Option<String>,
    ) -> Result<(), ApiError> {
        let content = with_reason(CanonicalJsonObject::new(), reason);
        self.change(sender, room_id, target, action, content).await
    }

    /// Invites a user, with their profile.
    pub(crate) async fn invite(
        &self,
        sender: &UserId,
        room_id: &RoomId,
        target: &UserId,
        invitation: Invitation,
    ) -> Result<(), ApiError> {
        self.can_reach(target)?;
        let content = self.profiles.content(target).await?;
        let mut content = with_reason(content, invitation.reason);
        if invitation.is_direct {
            content.insert("is_direct".to_owned(), true.into());
        }
        self.change(sender, room_id, target, MembershipAction::Invite, content)
            .await
    }

    /// 403 for users of other servers: an invite that never arrives would be a lie.
    pub(crate) fn can_reach(&self, user_id: &UserId) -> Result<(), ApiError> {
        if self.users.is_local(user_id) {
            return Ok(());
        }
        Err(ApiError::forbidden(
            "this server does not reach other servers yet",
        ))
    }

    /// The room of an id or an alias, if it exists here.
    pub(crate) async fn room(&self, named: OwnedRoomOrAliasId) -> Result<OwnedRoomId, ApiError> {
        let room_id = match OwnedRoomId::try_from(named) {
            Ok(room_id) => room_id,
            Err(alias) => self.aliases.get(&alias).await?.room_id,
        };
        let known = self.rooms.reader().head(&room_id).await?;
        known.ok_or_else(|| ApiError::not_found("this server does not know the room"))?;
        Ok(room_id)
    }

    async fn settle_in(&self, user_id: &UserId, room_id: &RoomId) -> Result<(), ApiError> {
        let reader = self.rooms.reader();
        let known = reader.user_room(user_id, room_id).await?;
        if known.is_some_and(|room| room.membership == MembershipState::Join) {
            return Ok(());
        }
        let create = reader
            .state_event(room_id, "m.room.create", "", Position::END)
            .await?;
        let create = create.and_then(|create| create.pdu.content_as().ok());
        match create.and_then(|content: RoomCreateEventContent| content.predecessor) {
            Some(old) => self.carry_over(user_id, &old.room_id, room_id).await,
            None => Ok(()),
        }
    }

    /// Takes what a user set for a room that they have been in over to the one that replaces it.
    pub(crate) async fn carry_over(
        &self,
        user_id: &UserId,
        old: &RoomId,
        new: &RoomId,
    ) -> Result<(), ApiError> {
        let was_there = self.rooms.reader().user_room(user_id, old).await?;
        if was_there.is_none() {
            return Ok(());
        }
        match self.users.carry_over(user_id, old, new).await {
            Err(PutAccountDataError::Unavailable(error)) => Err(error.into()),
            Err(refused) => {
                // A user whose account data is full may join nevertheless.
                tracing::warn!(%user_id, %old, %new, %refused, "a room's settings were not carried over");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    async fn change(
        &self,
        sender: &UserId,
        room_id: &RoomId,
        target: &UserId,
        action: MembershipAction,
        content: CanonicalJsonObject,
    ) -> Result<(), ApiError> {
        let change = MembershipChange {
            sender: sender.to_owned(),
            target: target.to_owned(),
            action,
            content,
            transaction: None,
        };
        self.rooms.change_membership(room_id, change).await?;
        Ok(())
    }

    /// Forgets a room that the user is out of.
    pub(crate) async fn forget(&self, user_id: &UserId, room_id: &RoomId) -> Result<(), ApiError> {
        use MembershipState::{Ban, Leave};
        let room = self.rooms.reader().user_room(user_id, room_id).await?;
        let room = room.ok_or_else(|| ApiError::not_found("you were never in this room"))?;
        if !matches!(room.membership, Leave | Ban) {
            return Err(ApiError::bad_request(
                ErrorKind::Unknown,
                "leave the room first",
            ));
        }
        Ok(self
            .users
            .forget_room(user_id, room_id, room.position)
            .await?)
    }
}

fn with_reason(mut content: CanonicalJsonObject, reason: Option<String>) -> CanonicalJsonObject {
    content.extend(reason.map(|reason| ("reason".to_owned(), reason.into())));
    content
}
