//! `room_device_changes`: whose devices or keys changed, by room and position: what the other
//! members are told from. One row for each member: the row of the change before goes with it, so
//! the feed is no longer than the room has members.
//!
//! `device_change_positions`: where a user's last such entry stands in each slot, which is what the
//! next one replaces. A row belongs to the slot that it names.

use hanse_log::Position;
use hanse_proto::room::MemberDevicesChanged;
use hanse_store::{Column, Key, Kind, Row, StoreError, Table, Value};

use super::Columns;

/// Partition `room_id`, clustering `position`.
pub(crate) static ROOM_DEVICE_CHANGES: Table = Table {
    name: "room_device_changes",
    kind: Kind::Stamped,
    partition: &[Column::text("room_id")],
    clustering: &[Column::bigint("position")],
    statics: &[],
    values: &[Column::text("user_id")],
};

/// Partition `user_id`, clustering `(slot, part)`.
pub(crate) static DEVICE_CHANGE_POSITIONS: Table = Table {
    name: "device_change_positions",
    kind: Kind::Stamped,
    partition: &[Column::text("user_id")],
    clustering: &[Column::bigint("slot"), Column::bigint("part")],
    statics: &[],
    values: &[Column::bigint("position")],
};

/// A row of [`ROOM_DEVICE_CHANGES`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeviceChangeRow {
    pub(crate) position: Position,
    pub(crate) user_id: String,
}

impl DeviceChangeRow {
    pub(crate) fn partition(room_id: &str) -> Vec<Value> {
        vec![room_id.into()]
    }

    pub(crate) fn key(room_id: &str, position: Position) -> Key {
        let clustering: Vec<Value> = vec![position.packed().into()];
        Key::new(Self::partition(room_id), clustering)
    }

    pub(crate) fn read(row: &Row) -> Result<Self, StoreError> {
        let position = Columns::of(&ROOM_DEVICE_CHANGES, &row.clustering).bigint()?;
        let user_id = Columns::of(&ROOM_DEVICE_CHANGES, &row.values).text()?;
        Ok(Self {
            position: Position::from_packed(position),
            user_id,
        })
    }
}

/// The key of a row of [`DEVICE_CHANGE_POSITIONS`].
pub(crate) fn last_change_key(user_id: &str, slot: u32, part: u32) -> Key {
    let clustering: Vec<Value> = vec![i64::from(slot).into(), i64::from(part).into()];
    Key::new([user_id.into()], clustering)
}

/// The position in a row of [`DEVICE_CHANGE_POSITIONS`].
pub(crate) fn last_change(row: &Row) -> Result<Position, StoreError> {
    let packed = Columns::of(&DEVICE_CHANGE_POSITIONS, &row.values).bigint()?;
    Ok(Position::from_packed(packed))
}

/// The rows of an entry.
pub(crate) fn rows(changed: &MemberDevicesChanged, position: Position, rows: &mut hanse_log::Rows) {
    let before = Position::from_packed(changed.previous_position);
    for room_id in &changed.room_ids {
        if changed.previous_position != 0 {
            let key = DeviceChangeRow::key(room_id, before);
            rows.delete(&ROOM_DEVICE_CHANGES, key);
        }
        let values = vec![changed.user_id.as_str().into()];
        rows.put(
            &ROOM_DEVICE_CHANGES,
            DeviceChangeRow::key(room_id, position),
            values,
        );
    }
    let key = last_change_key(&changed.user_id, changed.slot, changed.part);
    rows.put(
        &DEVICE_CHANGE_POSITIONS,
        key,
        vec![position.packed().into()],
    );
}
