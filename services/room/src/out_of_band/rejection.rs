//! Ending an invitation or a knock although no server of the room answers: a leave that stands behind
//! the membership that it ends, and that no other server has to take.

use std::collections::BTreeMap;

use hanse_event::{Draft, Pdu, Placement, build, room_version};
use ruma::{
    CanonicalJsonObject, OwnedRoomId, OwnedUserId, RoomId, RoomVersionId,
    events::room::member::MembershipState,
};
use serde::Deserialize;
use serde_json::value::RawValue as RawJsonValue;

use super::Told;
use crate::{
    RoomError, Rooms, Sent, UserRoom,
    commands::{RejectMembership, SignedEvent, TakeMembership},
    rooms::Inner,
};

/// Auth events that an event may name.
const AUTH_EVENTS_MAX: usize = 10;

impl Rooms {
    /// Ends an invitation or a knock of one of our users here, without the room's servers. `content`:
    /// what the leave says besides, such as a `reason`.
    pub async fn reject(
        &self,
        room_id: &RoomId,
        user_id: OwnedUserId,
        content: CanonicalJsonObject,
    ) -> Result<Sent, RoomError> {
        let command = RejectMembership {
            room_id: room_id.to_owned(),
            user_id,
            content,
        };
        self.routed(command).await
    }
}

impl Inner {
    pub(crate) async fn reject_here(&self, command: &RejectMembership) -> Result<Sent, RoomError> {
        let slot = self.logs.slot_of(command.room_id.as_str());
        self.logs.barrier(slot).await?;
        let held = self.reader.user_room(&command.user_id, &command.room_id);
        let held = held.await?.filter(|held| {
            matches!(
                held.membership,
                MembershipState::Invite | MembershipState::Knock
            )
        });
        let none = || RoomError::forbidden("you are not invited to this room");
        let held = held.ok_or_else(none)?;
        let event = self.reader.membership_event(&held).await?;
        let leave = self.leave_behind(command, &held, &event.ok_or_else(none)?.pdu)?;
        let taken = TakeMembership {
            room_id: command.room_id.clone(),
            event: SignedEvent(leave),
            stripped_state: String::new(),
        };
        match self.take_membership_here(&taken).await? {
            Told::Now(sent) => Ok(sent),
            // Joined or ended meanwhile.
            Told::Known | Told::Nothing => Err(none()),
        }
    }

    fn leave_behind(
        &self,
        command: &RejectMembership,
        held: &UserRoom,
        membership: &Pdu,
    ) -> Result<Pdu, RoomError> {
        let version = version_in(held).ok_or_else(|| {
            RoomError::forbidden("no server of the room answers, and its version is not known")
        })?;
        let mut content = command.content.clone();
        content.insert("membership".to_owned(), "leave".to_owned().into());
        let user = command.user_id.clone();
        let draft = Draft::state(user.clone(), "m.room.member", user.to_string(), content);
        let mut auth_events = membership.auth_events().to_vec();
        auth_events.truncate(AUTH_EVENTS_MAX - 1);
        auth_events.push(membership.event_id().to_owned());
        let place = Placement {
            room_id: OwnedRoomId::from(membership.room_id()),
            rules: room_version::rules(&version)?,
            prev_events: vec![membership.event_id().to_owned()],
            auth_events,
            depth: membership.depth().saturating_add(1),
            origin_server_ts: self.now(),
            reference_hashes: BTreeMap::new(),
        };
        Ok(build(draft, place, &self.key)?)
    }
}

/// The version that the create event among the stripped state names.
fn version_in(held: &UserRoom) -> Option<RoomVersionId> {
    #[derive(Deserialize)]
    struct Event {
        #[serde(rename = "type")]
        event_type: String,
        content: Box<RawJsonValue>,
    }
    #[derive(Deserialize)]
    struct Content {
        room_version: Option<RoomVersionId>,
    }
    let events: Vec<Event> = serde_json::from_str(held.stripped_state.as_deref()?).ok()?;
    let create = events
        .iter()
        .find(|event| event.event_type == "m.room.create")?;
    let content: Content = serde_json::from_str(create.content.get()).ok()?;
    Some(content.room_version.unwrap_or(RoomVersionId::V1))
}
