//! What one user may see of a room's timeline: history visibility over ranges of positions.

use hanse_event::{
    Pdu,
    visibility::{AtEvent, visibility_of},
};
use hanse_log::Position;
use hanse_store::StoreError;
use ruma::{
    OwnedUserId, RoomId, UserId,
    events::room::{history_visibility::HistoryVisibility, member::MembershipState},
};

use super::{RoomReader, TimelineEvent};

/// The reader's memberships and the room's visibilities, each with the position from which it
/// holds; a few rows, read once for any number of events.
#[derive(Clone, Debug)]
pub struct Lens {
    reader: OwnedUserId,
    memberships: Vec<(Position, MembershipState)>,
    visibilities: Vec<(Position, HistoryVisibility)>,
}

impl RoomReader {
    /// Collects what decides on a user's view of a room, as of a position.
    pub async fn lens(
        &self,
        room_id: &RoomId,
        reader: &UserId,
        at: Position,
    ) -> Result<Lens, StoreError> {
        let own = self
            .state_versions(room_id, "m.room.member", reader.as_str(), at)
            .await?;
        let memberships = own
            .into_iter()
            .filter_map(|state| Some((state.position, state.membership?.into())))
            .collect();
        let mut visibilities = Vec::new();
        for state in self
            .state_versions(room_id, "m.room.history_visibility", "", at)
            .await?
        {
            let event = self.state_body(room_id, &state).await?;
            let visibility = visibility_of(event.as_ref().map(|event| &event.pdu));
            visibilities.push((state.position, visibility));
        }
        Ok(Lens {
            reader: reader.to_owned(),
            memberships,
            visibilities,
        })
    }
}

impl Lens {
    /// The reader's membership just before a position.
    pub fn membership_before(&self, position: Position) -> MembershipState {
        before(&self.memberships, position)
            .cloned()
            .unwrap_or(MembershipState::Leave)
    }

    /// The reader's membership as of a position.
    pub fn membership_at(&self, position: Position) -> MembershipState {
        self.membership_before(Position::from_packed(position.packed().saturating_add(1)))
    }

    /// The reader's membership now.
    pub fn membership(&self) -> MembershipState {
        self.membership_before(Position::END)
    }

    /// Whether the reader ever had a membership in the room.
    pub fn was_ever_there(&self) -> bool {
        !self.memberships.is_empty()
    }

    /// Whether anybody may read the room now.
    pub fn world_readable(&self) -> bool {
        before(&self.visibilities, Position::END) == Some(&HistoryVisibility::WorldReadable)
    }

    /// The last position up to which the reader may follow the room: its end, or where they left.
    pub fn horizon(&self) -> Position {
        match self.memberships.last() {
            Some((_, MembershipState::Join)) | None => Position::END,
            Some((left, _)) if !self.world_readable() => *left,
            Some(_) => Position::END,
        }
    }

    /// Whether the reader may see an event.
    pub fn sees(&self, event: &TimelineEvent) -> bool {
        self.sees_at(&event.pdu, event.position)
    }

    /// The same, for an event at a position.
    pub fn sees_at(&self, pdu: &Pdu, position: Position) -> bool {
        // What happened to oneself is never hidden: an invitation that was refused, say.
        if pdu.type_name() == "m.room.member" && pdu.state_key() == Some(self.reader.as_str()) {
            return true;
        }
        let visibility = before(&self.visibilities, position)
            .cloned()
            .unwrap_or(HistoryVisibility::Shared);
        let joined_later = self
            .memberships
            .iter()
            .any(|(at, membership)| *at >= position && *membership == MembershipState::Join);
        let membership = self.membership_before(position);
        AtEvent::new(pdu, &self.reader, visibility, membership, joined_later).may_see()
    }
}

/// The value that holds just before a position.
fn before<T>(values: &[(Position, T)], position: Position) -> Option<&T> {
    values
        .iter()
        .rev()
        .find(|(at, _)| *at < position)
        .map(|(_, value)| value)
}
