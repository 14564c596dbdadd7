//! What rooms hold besides events: receipts, and their place in the directory.

use hanse_log::Position;
use hanse_proto::{
    log::{Entry, entry::Kind},
    room::{Published, Receipt, RoomEntry, room_entry},
};
use ruma::{EventId, OwnedEventId, OwnedUserId, RoomId, events::receipt::ReceiptType};
use serde::{Deserialize, Serialize};

use crate::{
    RoomError, Rooms,
    commands::{PublishRoom, PutReceipt},
};

/// A user has read up to an event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewReceipt {
    /// Who.
    pub user_id: OwnedUserId,
    /// `m.read` or `m.read.private`.
    pub receipt_type: ReceiptType,
    /// Empty: unthreaded; `main`, or the thread root's id.
    pub thread_id: String,
    /// Up to which event.
    pub event_id: OwnedEventId,
}

impl Rooms {
    /// Records a receipt. One that would go back is dropped: `None`.
    pub async fn receipt(
        &self,
        room_id: &RoomId,
        receipt: NewReceipt,
    ) -> Result<Option<Position>, RoomError> {
        let room_id = room_id.to_owned();
        let position = self.routed(PutReceipt { room_id, receipt }).await?;
        Ok(position.map(Position::from_packed))
    }

    pub(crate) async fn receipt_here(
        &self,
        room_id: &RoomId,
        receipt: NewReceipt,
    ) -> Result<Option<Position>, RoomError> {
        let event_position = self.event_position(room_id, &receipt.event_id).await?;
        let own = self
            .reader()
            .own_receipts(room_id, &receipt.user_id)
            .await?;
        let goes_back = own.iter().any(|held| {
            held.receipt_type == receipt.receipt_type
                && held.thread_id == receipt.thread_id
                && held.event_position >= event_position
        });
        if goes_back {
            return Ok(None);
        }
        let receipt = Receipt {
            user_id: receipt.user_id.to_string(),
            receipt_type: receipt.receipt_type.to_string(),
            thread_id: receipt.thread_id,
            event_id: receipt.event_id.to_string(),
            ts_ms: self.inner.clock.now_ms(),
            event_position: event_position.packed(),
        };
        self.append(room_id, room_entry::Kind::Receipt(receipt))
            .await
            .map(Some)
    }

    /// Puts a room into the public directory, or takes it out. Rights are the caller's to check.
    pub async fn publish(&self, room_id: &RoomId, public: bool) -> Result<(), RoomError> {
        let room_id = room_id.to_owned();
        self.routed(PublishRoom { room_id, public }).await
    }

    pub(crate) async fn publish_here(
        &self,
        room_id: &RoomId,
        public: bool,
    ) -> Result<(), RoomError> {
        let published = Published { public };
        self.append(room_id, room_entry::Kind::Published(published))
            .await
            .map(drop)
    }

    async fn event_position(
        &self,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<Position, RoomError> {
        let place = self.reader().place(event_id).await?;
        let place = place.filter(|place| place.room_id == room_id.as_str());
        let unknown = || RoomError::UnknownEvent {
            event_id: event_id.to_owned(),
        };
        place.map(|place| place.position).ok_or_else(unknown)
    }

    async fn append(
        &self,
        room_id: &RoomId,
        kind: room_entry::Kind,
    ) -> Result<Position, RoomError> {
        let room = RoomEntry {
            room_id: room_id.to_string(),
            kind: Some(kind),
        };
        let decided_at_ms = self.inner.clock.now_ms();
        let entry = Entry {
            decided_at_ms,
            kind: Some(Kind::Room(room)),
            ..Entry::default()
        };
        let slot = self.inner.logs.slot_of(room_id.as_str());
        Ok(self
            .inner
            .logs
            .submit(slot, None, vec![entry])?
            .applied()
            .await?)
    }
}
