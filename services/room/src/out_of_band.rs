//! Memberships of our users in rooms that this server is not in: invitations, knocks, and the end of
//! either ([spec]). All that is known of such a room is what came along: stripped state.
//!
//! They are decided in the room's slot, like everything of the room, so that a real join supersedes
//! them in order.
//!
//! [spec]: https://spec.matrix.org/v1.16/server-server-api/#inviting-to-a-room

mod rejection;
mod stripped_state;

use hanse_event::{Pdu, Received};
use hanse_proto::{
    log::Entry,
    room::{Membership, OutOfBandMembership, StateChange, room_entry},
};
use ruma::{
    OwnedUserId,
    events::{TimelineEventType, room::member::MembershipState},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue as RawJsonValue;

use self::stripped_state::rebuilt;
use crate::{
    RoomError, Rooms, Sent, UserRoom,
    commands::{SignedEvent, TakeMembership},
    entry::{is_local, notice_of, room_entry_of},
    rooms::Inner,
    tables::is_shelf,
};

/// What became of a membership that came out of band.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    /// The user is told of it.
    Now(Sent),
    /// The event had arrived before.
    Known,
    /// It says nothing about what the user has in the room: the user is in it, so that the room's own
    /// events count; or it ends an invitation that there is none of.
    Nothing,
}

/// A membership that a room has which we are not in, checked as far as it can be.
struct Member<'a> {
    pdu: &'a Pdu,
    user: OwnedUserId,
    membership: MembershipState,
}

impl Rooms {
    /// Takes an invitation of one of our users, the accepted knock of one, or the end of either. Returns
    /// when the user may see it.
    ///
    /// `stripped_state`: what the other server says of the room (`invite_room_state`,
    /// `knock_room_state`); rebuilt field by field, and what is none of it is left out.
    pub async fn receive_membership(
        &self,
        event: Received,
        stripped_state: &[Box<RawJsonValue>],
    ) -> Result<Told, RoomError> {
        let command = TakeMembership {
            room_id: event.pdu.room_id().to_owned(),
            stripped_state: rebuilt(&event.pdu, stripped_state),
            event: SignedEvent(event.pdu),
        };
        self.routed(command).await
    }
}

impl Inner {
    pub(crate) async fn take_membership_here(
        &self,
        command: &TakeMembership,
    ) -> Result<Told, RoomError> {
        let member = self.member_of(&command.event.0)?;
        // Rare, and decided on the archives: whoever comes next waits until it is there.
        let cell = self.cells.cell(&command.room_id);
        let _guard = cell.lock().await;
        let slot = self.logs.slot_of(command.room_id.as_str());
        let basis = self.logs.basis(slot)?;
        self.logs.barrier(slot).await?;
        if self.has_arrived(member.pdu).await? {
            return Ok(Told::Known);
        }
        let held = self
            .reader
            .user_room(&member.user, &command.room_id)
            .await?;
        if !self.says_something(&member, held.as_ref()).await? {
            return Ok(Told::Nothing);
        }
        let entry = self.member_entry(&member, held.as_ref(), &command.stripped_state);
        let ticket = self.logs.submit(slot, Some(basis), vec![entry])?;
        let position = ticket.applied().await?;
        Ok(Told::Now(Sent {
            event_id: member.pdu.event_id().to_owned(),
            position,
        }))
    }

    /// What an installation left that came to nothing has told nobody anything.
    async fn has_arrived(&self, pdu: &Pdu) -> Result<bool, RoomError> {
        let place = self.reader.place(pdu.event_id()).await?;
        Ok(match place {
            Some(place) if is_shelf(place.bucket) => {
                self.reader.head(pdu.room_id()).await?.is_some()
            }
            place => place.is_some(),
        })
    }

    fn member_of<'a>(&self, pdu: &'a Pdu) -> Result<Member<'a>, RoomError> {
        let no_member = || RoomError::bad_content("not a membership of one of our users");
        let is_member = *pdu.event_type() == TimelineEventType::RoomMember;
        let user = pdu.state_key().filter(|_| is_member);
        let user = user.and_then(|user| OwnedUserId::try_from(user).ok());
        let user = user.filter(|user| is_local(user, &self.server_name));
        let membership = pdu.membership().filter(|membership| {
            use MembershipState as M;
            matches!(membership, M::Invite | M::Knock | M::Leave | M::Ban)
        });
        Ok(Member {
            pdu,
            user: user.ok_or_else(no_member)?,
            membership: membership.ok_or_else(no_member)?,
        })
    }

    /// Whether it changes what the user has. Nobody but the user, and the server that invited, ends an
    /// invitation: the state that would tell who else may is not here.
    async fn says_something(
        &self,
        member: &Member<'_>,
        held: Option<&UserRoom>,
    ) -> Result<bool, RoomError> {
        use MembershipState as M;
        let Some(held) = held else {
            return Ok(matches!(member.membership, M::Invite | M::Knock));
        };
        match (&held.membership, &member.membership) {
            (M::Join, _) => Ok(false),
            (_, M::Invite | M::Knock) => Ok(true),
            (M::Invite | M::Knock, _) if member.pdu.sender() == member.user => Ok(true),
            (M::Knock, _) => Ok(true),
            (M::Invite, _) => {
                let invite = self.reader.membership_event(held).await?;
                let server = member.pdu.sender().server_name();
                Ok(invite.is_some_and(|invite| invite.pdu.sender().server_name() == server))
            }
            _ => Ok(false),
        }
    }

    fn member_entry(
        &self,
        member: &Member<'_>,
        held: Option<&UserRoom>,
        stripped_state: &str,
    ) -> Entry {
        let (room_id, membership) = (member.pdu.room_id(), member.membership.to_string());
        let previous = held.map(|held| held.membership.to_string());
        let previous = previous.unwrap_or_default();
        let is_shown = matches!(
            member.membership,
            MembershipState::Invite | MembershipState::Knock
        );
        let state = StateChange {
            state_key: member.user.to_string(),
            membership: Some(Membership {
                membership: membership.clone(),
                previous: previous.clone(),
                local: true,
                stripped_state: String::new(),
            }),
            ..StateChange::default()
        };
        let taken = OutOfBandMembership {
            event_id: member.pdu.event_id().to_string(),
            json: member.pdu.json().to_owned(),
            user_id: member.user.to_string(),
            membership,
            previous,
            stripped_state: if is_shown {
                stripped_state.to_owned()
            } else {
                String::new()
            },
        };
        let relays = notice_of(room_id, &state).into_iter().collect();
        let kind = room_entry::Kind::OutOfBandMembership(taken);
        room_entry_of(room_id, self.clock.now_ms(), relays, kind)
    }
}
