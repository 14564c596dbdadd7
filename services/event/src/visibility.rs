//! History visibility ([spec]): who may see an event.
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#room-history-visibility

use ruma::{
    UserId,
    events::room::{history_visibility::HistoryVisibility, member::MembershipState},
};
use serde::Deserialize;

use crate::pdu::Pdu;

/// The type of events that bring a room's ends together and say nothing.
pub const DUMMY_EVENT: &str = "org.matrix.dummy_event";

/// Whether an event is of no interest to clients, whoever they are: only the graph needs it.
pub fn is_dummy(pdu: &Pdu) -> bool {
    pdu.type_name() == DUMMY_EVENT
}

/// The room at an event, as far as it decides whether one reader may see the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AtEvent {
    /// The visibility before the event ([`visibility_of`] of the state there).
    pub visibility: HistoryVisibility,
    /// The visibility after it, if the event is itself an `m.room.history_visibility`.
    pub visibility_after: Option<HistoryVisibility>,
    /// The reader's membership before the event; `Leave` if there was none.
    pub membership: MembershipState,
    /// The reader's membership after it, if the event is itself their membership.
    pub membership_after: Option<MembershipState>,
    /// Whether the reader is joined now, or was at any point after the event.
    pub joined_later: bool,
}

impl AtEvent {
    /// Fills in what the event itself says.
    pub fn new(
        pdu: &Pdu,
        reader: &UserId,
        visibility: HistoryVisibility,
        membership: MembershipState,
        joined_later: bool,
    ) -> Self {
        let changes_visibility = pdu.is_state() && pdu.type_name() == "m.room.history_visibility";
        let is_own = pdu.state_key() == Some(reader.as_str());
        Self {
            visibility,
            visibility_after: changes_visibility.then(|| visibility_of(Some(pdu))),
            membership,
            membership_after: is_own.then(|| pdu.membership()).flatten(),
            joined_later,
        }
    }

    /// Whether the reader may see the event. An event that changes visibility or the reader's own
    /// membership may be seen if what was before it or what came after it allows.
    pub fn may_see(&self) -> bool {
        let memberships = [Some(&self.membership), self.membership_after.as_ref()];
        let visibilities = [Some(&self.visibility), self.visibility_after.as_ref()];
        visibilities.into_iter().flatten().any(|visibility| {
            let allowed = |membership| allows(visibility, membership, self.joined_later);
            memberships.into_iter().flatten().any(allowed)
        })
    }
}

/// The five rules of the specification.
fn allows(
    visibility: &HistoryVisibility,
    membership: &MembershipState,
    joined_later: bool,
) -> bool {
    match (visibility, membership) {
        (HistoryVisibility::WorldReadable, _)
        | (_, MembershipState::Join)
        | (HistoryVisibility::Invited, MembershipState::Invite) => true,
        (HistoryVisibility::Shared, _) => joined_later,
        _ => false,
    }
}

/// What the room's `m.room.history_visibility` says: `shared` where there is none, or none that
/// is understood.
pub fn visibility_of(event: Option<&Pdu>) -> HistoryVisibility {
    #[derive(Deserialize)]
    struct Content {
        history_visibility: HistoryVisibility,
    }
    let said = event.and_then(|pdu| pdu.content_as::<Content>().ok());
    match said.map(|content| content.history_visibility) {
        Some(
            known @ (HistoryVisibility::Invited
            | HistoryVisibility::Joined
            | HistoryVisibility::WorldReadable),
        ) => known,
        _ => HistoryVisibility::Shared,
    }
}

#[cfg(test)]
mod tests {
    use HistoryVisibility::{Invited, Joined, Shared, WorldReadable};
    use MembershipState::{Ban, Invite, Join, Knock, Leave};
    use ruma::RoomVersionId;
    use serde_json::json;

    use super::*;
    use crate::testing::{ALICE, BOB, Room, member, message, state, user};

    fn plain(
        visibility: HistoryVisibility,
        membership: MembershipState,
        joined_later: bool,
    ) -> bool {
        let (visibility_after, membership_after) = (None, None);
        AtEvent {
            visibility,
            visibility_after,
            membership,
            membership_after,
            joined_later,
        }
        .may_see()
    }

    /// Rows: visibility at the event. Columns: the reader's membership at the event, in each case
    /// without and with a join after it.
    #[test]
    fn the_table_of_the_spec() {
        let memberships = [Join, Invite, Knock, Leave, Ban];
        for (visibility, never_joined, joined_later) in [
            (WorldReadable, [true; 5], [true; 5]),
            (Shared, [true, false, false, false, false], [true; 5]),
            (
                Invited,
                [true, true, false, false, false],
                [true, true, false, false, false],
            ),
            (
                Joined,
                [true, false, false, false, false],
                [true, false, false, false, false],
            ),
        ] {
            for (at, membership) in memberships.iter().enumerate() {
                let seen = |later| plain(visibility.clone(), membership.clone(), later);
                assert_eq!(
                    seen(false),
                    never_joined[at],
                    "{visibility:?} {membership:?}"
                );
                assert_eq!(
                    seen(true),
                    joined_later[at],
                    "{visibility:?} {membership:?} later"
                );
            }
        }
    }

    #[test]
    fn a_visibility_change_is_seen_by_either_side() {
        for (before, after, seen) in [
            (WorldReadable, Joined, true),
            (Joined, WorldReadable, true),
            (Joined, Invited, false),
            (Shared, Joined, false),
        ] {
            let at = AtEvent {
                visibility: before,
                visibility_after: Some(after),
                membership: Leave,
                membership_after: None,
                joined_later: false,
            };
            assert_eq!(at.may_see(), seen, "{at:?}");
        }
    }

    #[test]
    fn the_own_membership_is_seen_by_either_side() {
        for (visibility, before, after, seen) in [
            (Joined, Leave, Join, true),
            (Joined, Join, Leave, true),
            (Joined, Join, Ban, true),
            (Joined, Leave, Invite, false),
            (Invited, Leave, Invite, true),
            (Invited, Invite, Leave, true),
            (Shared, Leave, Invite, false),
            (Joined, Leave, Ban, false),
        ] {
            let at = AtEvent {
                visibility,
                visibility_after: None,
                membership: before,
                membership_after: Some(after),
                joined_later: false,
            };
            assert_eq!(at.may_see(), seen, "{at:?}");
        }
    }

    #[test]
    fn the_event_says_what_it_changes() {
        let room = Room::new(&RoomVersionId::V11);
        let of = |draft, reader: &str| {
            AtEvent::new(&room.build(draft), &user(reader), Joined, Leave, false)
        };
        assert!(of(member(BOB, BOB, "join"), BOB).may_see());
        assert!(!of(member(BOB, BOB, "join"), ALICE).may_see());
        assert!(!of(message(ALICE, json!({ "membership": "join" })), ALICE).may_see());
        let content = json!({ "history_visibility": "world_readable" });
        let change = |key| state(ALICE, "m.room.history_visibility", key, content.clone());
        assert!(of(change(""), BOB).may_see());
    }

    #[test]
    fn what_is_not_understood_is_shared() {
        let room = Room::new(&RoomVersionId::V11);
        for content in [
            json!({}),
            json!({ "history_visibility": "x" }),
            json!({ "history_visibility": 7 }),
        ] {
            let pdu = room.build(state(ALICE, "m.room.history_visibility", "", content));
            assert_eq!(visibility_of(Some(&pdu)), Shared);
        }
        assert_eq!(visibility_of(None), Shared);
    }
}
