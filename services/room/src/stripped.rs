//! What an invited or knocking user is shown of a room ([spec]).
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#stripped-state

use hanse_event::{Pdu, client};

use crate::hot::Hot;

/// The state that the specification wants in stripped state.
pub(crate) const SHOWN: [&str; 7] = [
    "m.room.create",
    "m.room.join_rules",
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
    "m.room.canonical_alias",
    "m.room.encryption",
];

/// A JSON array: the room's outline, the inviter, and the membership itself.
pub(crate) fn of(hot: &Hot, membership: &Pdu) -> String {
    let outline = SHOWN
        .iter()
        .filter_map(|event_type| hot.state(event_type, ""));
    let sender = hot.state("m.room.member", membership.sender().as_str());
    let shown = outline.chain(sender).chain([membership]);
    let shown = shown.filter_map(client::stripped_state_event);
    serde_json::to_string(&shown.collect::<Vec<_>>()).unwrap_or_else(|_| "[]".to_owned())
}
