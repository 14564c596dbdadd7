//! Names and avatars in member events: the profile goes into a user's memberships, and its changes
//! are carried into the rooms that the user is in ([spec]).
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#events-on-change-of-profile-information

use hanse_room::{MembershipAction, MembershipChange, RoomError, Rooms};
use hanse_runtime::Tasks;
use hanse_user::Users;
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedUserId, UserId,
    events::room::member::MembershipState,
};

use crate::error::ApiError;

/// Profiles, as far as rooms show them.
#[derive(Clone, Debug)]
pub(crate) struct MemberProfiles {
    pub(crate) users: Users,
    pub(crate) rooms: Rooms,
    pub(crate) tasks: Tasks,
}

impl MemberProfiles {
    /// `displayname` and `avatar_url` of a local user, as far as they are set.
    pub(crate) async fn content(&self, user_id: &UserId) -> Result<CanonicalJsonObject, ApiError> {
        let mut content = CanonicalJsonObject::new();
        if !self.users.is_local(user_id) {
            return Ok(content);
        }
        let Some(profile) = self.users.profile(user_id).await? else {
            return Ok(content);
        };
        for field in ["displayname", "avatar_url"] {
            let value = profile.get(field).and_then(serde_json::Value::as_str);
            let value = value.map(|text| CanonicalJsonValue::String(text.to_owned()));
            content.extend(value.map(|value| (field.to_owned(), value)));
        }
        Ok(content)
    }

    /// Sends the user's profile into every room that they are in. It goes on when the client goes
    /// away.
    pub(crate) async fn carry_into_rooms(&self, user_id: OwnedUserId) -> Result<(), ApiError> {
        let this = self.clone();
        let carried = self.tasks.spawn("profile-into-rooms", async move {
            this.update_memberships(user_id).await
        });
        match carried.await {
            Ok(Ok(result)) => result,
            _ => Err(ApiError::unavailable("the server is ending")),
        }
    }

    async fn update_memberships(self, user_id: OwnedUserId) -> Result<(), ApiError> {
        let content = self.content(&user_id).await?;
        for room in self.rooms.reader().user_rooms(&user_id).await? {
            if room.membership != MembershipState::Join {
                continue;
            }
            let change = MembershipChange {
                sender: user_id.clone(),
                target: user_id.clone(),
                action: MembershipAction::UpdateProfile,
                content: content.clone(),
                transaction: None,
            };
            match self.rooms.change_membership(&room.room_id, change).await {
                // The user has just left.
                Ok(_) | Err(RoomError::Forbidden { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes the user out of every room, in the background; what fails is logged and left.
    pub(crate) fn leave_everything(&self, user_id: OwnedUserId) {
        let this = self.clone();
        self.tasks.spawn("leave-everything", async move {
            if let Err(error) = this.leave_rooms(user_id).await {
                tracing::warn!(%error, "a closed account is still in rooms");
            }
        });
    }

    async fn leave_rooms(self, user_id: OwnedUserId) -> Result<(), ApiError> {
        use MembershipState::{Invite, Join, Knock};
        for room in self.rooms.reader().user_rooms(&user_id).await? {
            if !matches!(room.membership, Join | Invite | Knock) {
                continue;
            }
            let change = MembershipChange {
                sender: user_id.clone(),
                target: user_id.clone(),
                action: MembershipAction::Leave,
                content: CanonicalJsonObject::new(),
                transaction: None,
            };
            if let Err(error) = self.rooms.change_membership(&room.room_id, change).await {
                tracing::warn!(room.id = %room.room_id, %error, "a room could not be left");
            }
        }
        Ok(())
    }
}
