//! `membership_feed`: what the rooms' slots told of a user's memberships, by position in the user's
//! slot. A sync token finds here the rooms that it does not know yet.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, StoreError, Table, Value};
use ruma::OwnedRoomId;

use crate::archive::{Cells, StoredRow};

pub(crate) static MEMBERSHIP_FEED: Table = Table {
    name: "membership_feed",
    kind: Kind::Stamped,
    partition: &[Column::text("user_id")],
    clustering: &[Column::bigint("position")],
    statics: &[],
    values: &[Column::text("room_id"), Column::text("membership")],
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MembershipFeedRow {
    pub(crate) position: Position,
    pub(crate) room_id: OwnedRoomId,
    pub(crate) membership: String,
}

pub(crate) fn key(user_id: &str, position: Position) -> Key {
    Key::new([user_id.into()], [position.packed().into()])
}

pub(crate) fn values(room_id: &str, membership: &str) -> Vec<Value> {
    vec![room_id.into(), membership.into()]
}

impl StoredRow for MembershipFeedRow {
    fn table() -> &'static Table {
        &MEMBERSHIP_FEED
    }

    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            position: cells.position("position")?,
            room_id: cells.id("room_id")?,
            membership: cells.text("membership")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tables::read_back;

    proptest! {
        #[test]
        fn reads_back(room in "[A-Za-z0-9]{1,18}", membership in ".*", position: i64) {
            let room_id: OwnedRoomId = format!("!{room}:b").try_into().unwrap();
            let position = Position::from_packed(position);
            let columns = values(room_id.as_str(), &membership);
            let key = key("@a:b", position);
            let row = MembershipFeedRow { position, room_id, membership };
            prop_assert_eq!(read_back::<MembershipFeedRow>(&key, columns), row);
        }
    }
}
