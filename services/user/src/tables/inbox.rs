//! `to_device_inbox`: messages that wait for a device, in the order in which they reached its user's
//! slot, until the device has acknowledged them.

use hanse_log::Position;
use hanse_store::{Column, Key, Kind, StoreError, Table, Value};

use crate::archive::{Cells, StoredRow};

pub(crate) static TO_DEVICE_INBOX: Table = Table {
    name: "to_device_inbox",
    kind: Kind::Stamped,
    partition: &[Column::text("user_id"), Column::text("device_id")],
    clustering: &[Column::bigint("position")],
    statics: &[],
    values: &[
        Column::text("sender"),
        Column::text("event_type"),
        // A JSON object.
        Column::text("content"),
    ],
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct InboxRow {
    pub(crate) position: Position,
    pub(crate) sender: String,
    pub(crate) event_type: String,
    pub(crate) content: String,
}

pub(crate) fn partition(user_id: &str, device_id: &str) -> Vec<Value> {
    vec![user_id.into(), device_id.into()]
}

pub(crate) fn key(user_id: &str, device_id: &str, position: Position) -> Key {
    Key::new(partition(user_id, device_id), [position.packed().into()])
}

pub(crate) fn values(sender: &str, event_type: &str, content: &str) -> Vec<Value> {
    vec![sender.into(), event_type.into(), content.into()]
}

impl StoredRow for InboxRow {
    fn table() -> &'static Table {
        &TO_DEVICE_INBOX
    }

    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            position: cells.position("position")?,
            sender: cells.text("sender")?,
            event_type: cells.text("event_type")?,
            content: cells.text("content")?,
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
        fn reads_back(
            device in ".*", sender in ".*", event_type in ".*", content in ".*", position: i64,
        ) {
            let position = Position::from_packed(position);
            let columns = values(&sender, &event_type, &content);
            let key = key("@a:b", &device, position);
            let row = InboxRow { position, sender, event_type, content };
            prop_assert_eq!(read_back::<InboxRow>(&key, columns), row);
        }
    }
}
