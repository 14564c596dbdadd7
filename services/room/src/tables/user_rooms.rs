//! `user_rooms`: every room that a local user has, or had, a membership in. A row belongs to the
//! room's slot; nobody else writes it.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, Row, StoreError, Table, Value};

use super::Columns;

/// Partition `user_id`, clustering `room_id`.
pub(crate) static USER_ROOMS: Table = Table {
    name: "user_rooms",
    kind: Kind::Stamped,
    partition: &[Column::text("user_id")],
    clustering: &[Column::text("room_id")],
    statics: &[],
    values: &[
        Column::text("membership"),
        Column::bigint("position"),
        Column::bigint("bucket"),
        Column::text("event_id"),
        // For invites and knocks: a JSON array of stripped state events.
        Column::text("stripped_state"),
        // The membership before this one.
        Column::text("previous"),
    ],
};

/// A row of [`USER_ROOMS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UserRoomRow {
    pub(crate) room_id: String,
    pub(crate) membership: String,
    pub(crate) position: Position,
    pub(crate) bucket: i64,
    pub(crate) event_id: String,
    pub(crate) stripped_state: Option<String>,
    pub(crate) previous: Option<String>,
}

impl UserRoomRow {
    pub(crate) fn partition(user_id: &str) -> Vec<Value> {
        vec![user_id.into()]
    }

    pub(crate) fn key(user_id: &str, room_id: &str) -> Key {
        Key::new(Self::partition(user_id), vec![room_id.into()])
    }

    pub(crate) fn values(self) -> Vec<Value> {
        vec![
            self.membership.into(),
            self.position.packed().into(),
            self.bucket.into(),
            self.event_id.into(),
            self.stripped_state.into(),
            self.previous.into(),
        ]
    }

    pub(crate) fn read(row: &Row) -> Result<Self, StoreError> {
        let room_id = Columns::of(&USER_ROOMS, &row.clustering).text()?;
        let mut columns = Columns::of(&USER_ROOMS, &row.values);
        Ok(Self {
            room_id,
            membership: columns.text()?,
            position: Position::from_packed(columns.bigint()?),
            bucket: columns.bigint()?,
            event_id: columns.text()?,
            stripped_state: columns.text_or_null()?,
            previous: columns.text_or_null()?,
        })
    }
}
