//! Receipts, as a feed and by user.

use hanse_log::Position;
use hanse_store::{Range, StoreError};
use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedUserId, RoomId, UserId,
    events::receipt::ReceiptType,
};

use super::RoomReader;
use crate::tables::{ROOM_RECEIPTS, ReceiptRow, corrupt};

/// How far a user has read.
#[derive(Clone, Debug)]
pub struct ReceiptAt {
    /// Who.
    pub user_id: OwnedUserId,
    /// `m.read` or `m.read.private`.
    pub receipt_type: ReceiptType,
    /// Empty: unthreaded; `main`, or the thread root's id.
    pub thread_id: String,
    /// When the receipt took effect.
    pub position: Position,
    /// The event that was read.
    pub event_id: OwnedEventId,
    /// Its position.
    pub event_position: Position,
    /// When it was read.
    pub ts: MilliSecondsSinceUnixEpoch,
}

impl ReceiptAt {
    fn of(row: ReceiptRow) -> Result<Self, StoreError> {
        let ts = u64::try_from(row.ts_ms)
            .ok()
            .and_then(|ms| ms.try_into().ok());
        Ok(Self {
            user_id: row
                .user_id
                .try_into()
                .map_err(|e| corrupt(&ROOM_RECEIPTS, e))?,
            receipt_type: row.receipt_type.into(),
            thread_id: row.thread_id,
            position: row.position,
            event_id: row
                .event_id
                .try_into()
                .map_err(|e| corrupt(&ROOM_RECEIPTS, e))?,
            event_position: row.event_position,
            ts: MilliSecondsSinceUnixEpoch(ts.unwrap_or_default()),
        })
    }
}

impl RoomReader {
    /// The receipts of a room that took effect in `(after, up_to]`.
    pub async fn receipts(
        &self,
        room_id: &RoomId,
        after: Position,
        up_to: Position,
    ) -> Result<Vec<ReceiptAt>, StoreError> {
        let rows = self
            .all(&ROOM_RECEIPTS, vec![room_id.as_str().into()], Range::all())
            .await?;
        let mut receipts = Vec::new();
        for row in &rows {
            let row = ReceiptRow::read(row)?;
            if row.position > after && row.position <= up_to {
                receipts.push(ReceiptAt::of(row)?);
            }
        }
        Ok(receipts)
    }

    /// A user's own receipts in a room, private ones too.
    pub async fn own_receipts(
        &self,
        room_id: &RoomId,
        user_id: &UserId,
    ) -> Result<Vec<ReceiptAt>, StoreError> {
        let range = Range::prefix(vec![user_id.as_str().into()]);
        let rows = self
            .all(&ROOM_RECEIPTS, vec![room_id.as_str().into()], range)
            .await?;
        rows.iter()
            .map(|row| ReceiptAt::of(ReceiptRow::read(row)?))
            .collect()
    }
}
