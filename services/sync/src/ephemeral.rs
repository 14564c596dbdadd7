//! Receipts and typing.

use std::collections::BTreeMap;

use hanse_log::Position;
use hanse_room::ReceiptAt;
use ruma::{
    OwnedUserId,
    events::{AnySyncEphemeralRoomEvent, receipt::ReceiptType},
    serde::Raw,
};
use serde_json::{Value, json, value::to_raw_value};

use crate::{SyncError, answer::RoomAt, ask::Ask, memory::Changed, worker::Inner};

impl Inner {
    /// What is ephemeral in a room, after a position; `None`: all of it.
    pub(crate) async fn ephemeral(
        &self,
        ask: &Ask,
        at: &RoomAt,
        since: Option<Position>,
    ) -> Result<Vec<Raw<AnySyncEphemeralRoomEvent>>, SyncError> {
        let room_id = &at.room.room_id;
        let filter = &ask.filter.room.ephemeral;
        let mut events = Vec::new();
        let after = since.unwrap_or(Position::START);
        let read = self.memory.read().anybody_read(room_id, at.slot, after);
        if read != Changed::No && Ask::wants(filter, room_id, "m.receipt") {
            let receipts = self.rooms.receipts(room_id, after, at.now).await?;
            let shown: Vec<_> = receipts.iter().filter(|r| shows(ask, r)).collect();
            if !shown.is_empty() {
                events.extend(receipt_event(&shown));
            }
        }
        if let Some(users) = &at.typing
            && Ask::wants(filter, room_id, "m.typing")
        {
            events.extend(typing_event(users));
        }
        Ok(events)
    }
}

/// Private receipts are for their owner alone.
fn shows(ask: &Ask, receipt: &ReceiptAt) -> bool {
    receipt.receipt_type == ReceiptType::Read || receipt.user_id == ask.user_id
}

fn receipt_event(receipts: &[&ReceiptAt]) -> Option<Raw<AnySyncEphemeralRoomEvent>> {
    let mut content: BTreeMap<&str, BTreeMap<String, BTreeMap<&str, Value>>> = BTreeMap::new();
    for receipt in receipts {
        let mut data = json!({ "ts": receipt.ts });
        if !receipt.thread_id.is_empty()
            && let Some(data) = data.as_object_mut()
        {
            data.insert("thread_id".to_owned(), receipt.thread_id.as_str().into());
        }
        let by_type = content.entry(receipt.event_id.as_str()).or_default();
        let by_user = by_type.entry(receipt.receipt_type.to_string()).or_default();
        by_user.insert(receipt.user_id.as_str(), data);
    }
    raw(&json!({ "type": "m.receipt", "content": content }))
}

fn typing_event(users: &[OwnedUserId]) -> Option<Raw<AnySyncEphemeralRoomEvent>> {
    raw(&json!({ "type": "m.typing", "content": { "user_ids": users } }))
}

fn raw<T>(event: &Value) -> Option<Raw<T>> {
    to_raw_value(event).ok().map(Raw::from_json)
}
