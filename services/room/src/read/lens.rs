//! What one user may see of a room's timeline: history visibility over ranges of positions.

use std::collections::BTreeMap;

use hanse_event::{
    Pdu,
    visibility::{AtEvent, is_dummy, visibility_of},
};
use hanse_log::Position;
use hanse_store::StoreError;
use ruma::{
    OwnedUserId, RoomId, UserId,
    events::room::{history_visibility::HistoryVisibility, member::MembershipState},
};

use super::{RoomReader, StateAt, TimelineEvent, older::Then};

/// The reader's memberships and the room's visibilities, each with the position from which it
/// holds; a few rows, read once for any number of events.
#[derive(Clone, Debug)]
pub struct Lens {
    pub(super) reader: OwnedUserId,
    memberships: Vec<(Position, MembershipState)>,
    visibilities: Vec<(Position, HistoryVisibility)>,
    /// What held before backfilled events, as far as it was looked up.
    pub(super) then: BTreeMap<Position, Then>,
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
        let membership = |state: Option<StateAt>| match state {
            Some(state) => state.membership.map(Into::into),
            None => Some(MembershipState::Leave),
        };
        let memberships = own
            .into_iter()
            .filter_map(|(position, state)| Some((position, membership(state)?)))
            .collect();
        let mut visibilities = Vec::new();
        for (position, state) in self
            .state_versions(room_id, "m.room.history_visibility", "", at)
            .await?
        {
            let event = match state {
                Some(state) => self.state_body(room_id, &state).await?,
                None => None,
            };
            let visibility = visibility_of(event.as_ref().map(|event| &event.pdu));
            visibilities.push((position, visibility));
        }
        Ok(Lens {
            reader: reader.to_owned(),
            memberships,
            visibilities,
            then: BTreeMap::new(),
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
        if is_dummy(pdu) {
            return false;
        }
        // What happened to oneself is never hidden: an invitation that was refused, say.
        if pdu.type_name() == "m.room.member" && pdu.state_key() == Some(self.reader.as_str()) {
            return true;
        }
        let Some(Then {
            visibility,
            membership,
        }) = self.then(position)
        else {
            return false;
        };
        let joined_later = self
            .memberships
            .iter()
            .any(|(at, membership)| *at >= position && *membership == MembershipState::Join);
        AtEvent::new(pdu, &self.reader, visibility, membership, joined_later).may_see()
    }

    /// What held just before a position; of a backfilled event, only if it was looked up.
    fn then(&self, position: Position) -> Option<Then> {
        if position < Position::START {
            return self.then.get(&position).cloned();
        }
        let visibility = before(&self.visibilities, position).cloned();
        Some(Then {
            visibility: visibility.unwrap_or(HistoryVisibility::Shared),
            membership: self.membership_before(position),
        })
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
