//! Reading rooms from the archives, as of positions.
//!
//! Invariant: a read made for a token takes the token's position and returns nothing above it.
//! Invariant: a room has no state before it has a head: a state that is being installed is shown to
//! nobody.

mod aggregated;
mod devices;
mod directory;
mod event_state;
mod gaps;
mod here;
mod history;
mod known;
mod lens;
mod older;
mod receipts;
mod relations;
mod state;
mod timeline;
mod timeline_point;
mod user_rooms;

use std::{fmt, sync::Arc};

use hanse_event::Pdu;
use hanse_log::Position;
use hanse_proto::room::RoomHead;
use hanse_store::{Consistency, Direction, Key, Range, Row, Scan, Store, StoreError, Table, Value};
use ruma::{EventId, OwnedEventId, RoomId};

#[cfg(test)]
pub(crate) use self::event_state::Node;
use self::here::Here;
pub use self::{
    aggregated::Aggregated,
    event_state::StateIds,
    gaps::GapAt,
    history::{HistoryPage, HistoryPoint},
    lens::Lens,
    receipts::ReceiptAt,
    relations::Related,
    state::{StateAt, StateChangeAt},
    timeline::Arrivals,
    timeline_point::{TimelinePage, TimelinePoint},
    user_rooms::UserRoom,
};
pub(crate) use self::{
    event_state::{Chain, Delta, Nodes, StateKey},
    known::KnownEvent,
};
use crate::tables::{
    EVENTS, EventIdRow, EventRow, HeadRow, ROOM_EVENTS, ROOM_HEADS, corrupt, is_shelf,
};

/// An event at its place in a room's timeline.
#[derive(Clone, Debug)]
pub struct TimelineEvent {
    /// The event; pruned if it was redacted, with the redaction in its `unsigned`.
    pub pdu: Pdu,
    /// Where it stands in the room's slot.
    pub position: Position,
    /// The device and the transaction id that it was sent with, if one of our clients sent it.
    pub transaction: Option<(String, String)>,
    /// The state event that it replaced.
    pub previous_event_id: Option<OwnedEventId>,
}

impl TimelineEvent {
    /// Just before it, in the order of arrival.
    pub fn arrival_point(&self) -> TimelinePoint {
        TimelinePoint::Arrival(self.position)
    }

    /// Its place in the order of history.
    pub fn history_point(&self) -> HistoryPoint {
        HistoryPoint {
            depth: self.pdu.depth() as i64,
            position: self.position,
        }
    }
}

/// The newest end of a room.
#[derive(Clone, Debug)]
pub struct Head {
    /// The position of the newest event.
    pub position: Position,
    /// Version, extremities, counts.
    pub head: RoomHead,
}

/// Reads rooms. Clones are cheap.
#[derive(Clone)]
pub struct RoomReader {
    store: Arc<dyn Store>,
    here: Here,
}

impl fmt::Debug for RoomReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoomReader").finish_non_exhaustive()
    }
}

impl RoomReader {
    /// A reader of this store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        let here = Here::default();
        Self { store, here }
    }

    /// The newest end of a room; `None`: we do not know the room.
    pub async fn head(&self, room_id: &RoomId) -> Result<Option<Head>, StoreError> {
        let row = self
            .get(&ROOM_HEADS, &HeadRow::key(room_id.as_str()))
            .await?;
        let Some(row) = row else { return Ok(None) };
        let HeadRow { position, head } = HeadRow::read(&row)?;
        self.here.add(room_id);
        Ok(Some(Head { position, head }))
    }

    /// An event by its id, if it is in this room's timeline.
    pub async fn event(
        &self,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<Option<TimelineEvent>, StoreError> {
        let Some(place) = self.place(event_id).await? else {
            return Ok(None);
        };
        if place.room_id != room_id.as_str() || is_shelf(place.bucket) {
            return Ok(None);
        }
        self.event_at(room_id, place.bucket, place.position).await
    }

    /// Where an event stands.
    pub(crate) async fn place(&self, event_id: &EventId) -> Result<Option<EventIdRow>, StoreError> {
        let row = self
            .get(&EVENTS, &EventIdRow::key(event_id.as_str()))
            .await?;
        row.as_ref().map(EventIdRow::read).transpose()
    }

    pub(crate) async fn event_at(
        &self,
        room_id: &RoomId,
        bucket: i64,
        position: Position,
    ) -> Result<Option<TimelineEvent>, StoreError> {
        let key = EventRow::key(room_id.as_str(), bucket, position);
        let row = self.get(&ROOM_EVENTS, &key).await?;
        row.as_ref().map(timeline_event).transpose()
    }

    pub(crate) async fn get(
        &self,
        table: &'static Table,
        key: &Key,
    ) -> Result<Option<Row>, StoreError> {
        self.store.get(table, key, Consistency::Quorum).await
    }

    pub(crate) async fn page(
        &self,
        table: &'static Table,
        partition: Vec<Value>,
        range: Range,
        direction: Direction,
        limit: usize,
    ) -> Result<hanse_store::Page, StoreError> {
        let limit = limit.clamp(1, Scan::LIMIT_MAX);
        self.store
            .scan(Scan {
                table,
                partition,
                range,
                direction,
                limit,
            })
            .await
    }

    /// Every row of a range, page by page; for ranges that are bounded by what they describe.
    pub(crate) async fn all(
        &self,
        table: &'static Table,
        partition: Vec<Value>,
        mut range: Range,
    ) -> Result<Vec<Row>, StoreError> {
        const PAGE: usize = 1_000;
        let mut rows: Vec<Row> = Vec::new();
        loop {
            let page = self
                .page(
                    table,
                    partition.clone(),
                    range.clone(),
                    Direction::Forward,
                    PAGE,
                )
                .await?;
            rows.extend(page.rows);
            let (true, Some(last)) = (page.more, rows.last()) else {
                return Ok(rows);
            };
            range.from.clone_from(&last.clustering);
            range.from_exclusive = true;
        }
    }
}

pub(crate) fn timeline_event(row: &Row) -> Result<TimelineEvent, StoreError> {
    let row = EventRow::read(row)?;
    let event_id = OwnedEventId::try_from(row.event_id).map_err(|e| corrupt(&ROOM_EVENTS, e))?;
    let pdu = stored_pdu(event_id, &row.json)?;
    let previous = row
        .previous_event_id
        .map(OwnedEventId::try_from)
        .transpose();
    Ok(TimelineEvent {
        pdu,
        position: row.position,
        transaction: row.transaction,
        previous_event_id: previous.map_err(|e| corrupt(&ROOM_EVENTS, e))?,
    })
}

fn stored_pdu(event_id: OwnedEventId, json: &str) -> Result<Pdu, StoreError> {
    Pdu::from_stored(event_id, json).map_err(|e| corrupt(&ROOM_EVENTS, e))
}
