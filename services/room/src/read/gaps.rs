//! Where a room's history is missing.

use hanse_log::Position;
use hanse_store::{Direction, Range, StoreError};
use ruma::{EventId, OwnedEventId, RoomId};

use super::{HistoryPoint, RoomReader};
use crate::tables::{
    BY_ID, BucketKind, BucketRow, EventRow, GapRow, MissingEventRow, ROOM_BUCKETS, ROOM_EVENTS,
    ROOM_GAPS, ROOM_MISSING_EVENTS, corrupt,
};

/// History is missing just before an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapAt {
    /// Where the event after the gap stands in history; it need not be shown itself.
    pub point: HistoryPoint,
    /// That event.
    pub event_id: OwnedEventId,
    /// One of its `prev_events` that is missing.
    pub missing: OwnedEventId,
}

impl RoomReader {
    /// The gaps before events between two places of a room's history, `from` included, in the order
    /// of history; at most `limit`, one for each missing event.
    pub async fn gaps(
        &self,
        room_id: &RoomId,
        from: HistoryPoint,
        to: HistoryPoint,
        limit: usize,
    ) -> Result<Vec<GapAt>, StoreError> {
        let edge = |point: HistoryPoint| vec![point.depth.into(), point.position.packed().into()];
        let mut range = Range::at_least(edge(from));
        range.to = edge(to);
        range.to_exclusive = true;
        let partition = GapRow::partition(room_id.as_str());
        let page = self
            .page(&ROOM_GAPS, partition, range, Direction::Forward, limit)
            .await?;
        page.rows
            .iter()
            .map(|row| gap_at(GapRow::read(row)?))
            .collect()
    }

    /// The gaps in which an event is missing.
    pub(crate) async fn gaps_without(
        &self,
        room_id: &RoomId,
        missing: &EventId,
    ) -> Result<Vec<GapAt>, StoreError> {
        let partition = MissingEventRow::partition(room_id.as_str(), missing.as_str());
        let rows = self
            .all(&ROOM_MISSING_EVENTS, partition, Range::all())
            .await?;
        let gap = |row| {
            let row = MissingEventRow::read(row)?;
            gap_at(GapRow {
                depth: row.depth,
                position: row.position,
                missing_id: missing.to_string(),
                event_id: row.event_id,
            })
        };
        rows.iter().map(gap).collect()
    }

    /// The lowest position that an event of the room has, if any was backfilled;
    /// [`Position::START`] otherwise.
    pub(crate) async fn lowest_position(&self, room_id: &RoomId) -> Result<Position, StoreError> {
        let (all, first) = (Range::all, Direction::Forward);
        let partition = BucketRow::partition(room_id.as_str(), BucketKind::Arrival);
        let page = self.page(&ROOM_BUCKETS, partition, all(), first, 1).await?;
        let Some(row) = page.rows.first() else {
            return Ok(Position::START);
        };
        let bucket = BucketRow::read(row)?.bucket;
        if bucket >= BY_ID {
            return Ok(Position::START);
        }
        let partition = EventRow::partition(room_id.as_str(), bucket);
        let page = self.page(&ROOM_EVENTS, partition, all(), first, 1).await?;
        match page.rows.first() {
            Some(row) => Ok(EventRow::read(row)?.position),
            None => Ok(Position::START),
        }
    }
}

fn gap_at(row: GapRow) -> Result<GapAt, StoreError> {
    let id = |id: String| OwnedEventId::try_from(id).map_err(|e| corrupt(&ROOM_GAPS, e));
    Ok(GapAt {
        point: HistoryPoint {
            depth: row.depth,
            position: row.position,
        },
        event_id: id(row.event_id)?,
        missing: id(row.missing_id)?,
    })
}
