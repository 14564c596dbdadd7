//! The summary of a room: how many are in it, and whom to name it after ([spec]).
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#syncing

use hanse_room::StateAt;
use ruma::{OwnedUserId, UInt, api::client::sync::sync_events::v3::JoinedRoom};

use crate::{SyncError, answer::RoomAt, ask::Ask, worker::Inner};

/// Members that a room without a name is named after.
const HEROES_MAX: usize = 5;

impl Inner {
    /// Adds the summary.
    pub(crate) async fn summarise(
        &self,
        ask: &Ask,
        at: &RoomAt,
        room: &mut JoinedRoom,
    ) -> Result<(), SyncError> {
        let Some(head) = self.rooms.head(&at.room.room_id).await? else {
            return Ok(());
        };
        room.summary.joined_member_count = count(head.head.joined_members);
        room.summary.invited_member_count = count(head.head.invited_members);
        if !self.is_named(at).await? {
            room.summary.heroes = self.heroes(ask, at).await?;
        }
        Ok(())
    }

    async fn is_named(&self, at: &RoomAt) -> Result<bool, SyncError> {
        for (event_type, field) in [("m.room.name", "name"), ("m.room.canonical_alias", "alias")] {
            let event = self
                .rooms
                .state_event(&at.room.room_id, event_type, "", at.now)
                .await?;
            let content = event.and_then(|event| event.pdu.content_as::<serde_json::Value>().ok());
            let named = content.is_some_and(|content| {
                content
                    .get(field)
                    .and_then(|name| name.as_str())
                    .is_some_and(|n| !n.is_empty())
            });
            if named {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Others who are in the room or invited; if there are none, those who were.
    async fn heroes(&self, ask: &Ask, at: &RoomAt) -> Result<Vec<OwnedUserId>, SyncError> {
        for memberships in [&["join", "invite"][..], &["leave", "ban"][..]] {
            let members = self
                .rooms
                .some_members(&at.room.room_id, memberships, HEROES_MAX + 1)
                .await?;
            let mut heroes: Vec<_> = members
                .iter()
                .filter(|member| member.state_key != ask.user_id)
                .collect();
            heroes.sort_by_key(|member| member.position);
            let named: Vec<_> = heroes
                .into_iter()
                .take(HEROES_MAX)
                .filter_map(user)
                .collect();
            if !named.is_empty() {
                return Ok(named);
            }
        }
        Ok(Vec::new())
    }
}

fn user(member: &StateAt) -> Option<OwnedUserId> {
    member.state_key.as_str().try_into().ok()
}

fn count(members: i64) -> Option<UInt> {
    u64::try_from(members)
        .ok()
        .and_then(|members| members.try_into().ok())
}
