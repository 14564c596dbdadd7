//! Taking away what installations wrote that came to nothing: the process ended, the slot changed
//! hands, or the join was refused.
//!
//! Nobody was shown any of it. A later installation writes the same keys again, and sweeps the others
//! before it shows the room: a value that the first state had and the second has not must not stay.

use hanse_log::Position;
use hanse_proto::{
    log::Entry,
    room::{StateSwept, SweptEvent, SweptValue, room_entry},
};
use hanse_store::{Direction, Range, Row, StoreError, Table, Value};
use ruma::{EventId, RoomId};

use super::job::Scope;
use crate::{
    RoomError,
    rooms::Inner,
    tables::{EventRow, MEMBER_SHARDS, ROOM_EVENTS, ROOM_STATE, StateRow, shelf},
};

/// Rows that are looked at in one go.
const PAGE: usize = 100;

/// Walks over everything that installations of a room may have written.
pub(super) struct Sweep {
    /// What stands at this position or after it stays.
    before: Position,
    place: Place,
    /// Where in its partition it goes on.
    range: Range,
}

/// A partition.
#[derive(Clone, Copy)]
enum Place {
    /// Of the state.
    Shard(i64),
    /// Of the bodies.
    Shelf(i64),
}

impl Sweep {
    pub(super) fn before(before: Position) -> Self {
        Self {
            before,
            place: Place::Shard(0),
            range: Range::all(),
        }
    }

    /// Takes away what is on the next page; `true`: it was the last.
    pub(super) async fn next_page(
        &mut self,
        inner: &Inner,
        scope: &Scope,
    ) -> Result<bool, RoomError> {
        let (table, partition) = self.place.partition(&scope.room_id);
        let (range, forward) = (self.range.clone(), Direction::Forward);
        let page = inner.reader.page(table, partition, range, forward, PAGE);
        let page = page.await?;
        let ends = matches!(self.place, Place::Shelf(_))
            && page.rows.is_empty()
            && self.range == Range::all();
        let swept = match self.place {
            Place::Shard(_) => self.values(&page.rows)?,
            Place::Shelf(number) => self.bodies(inner, shelf(number), &page.rows).await?,
        };
        if !swept.events.is_empty() || !swept.values.is_empty() {
            let kind = room_entry::Kind::StateSwept(swept);
            let entries: Vec<Entry> = vec![scope.entry(inner, kind)];
            scope.submit(inner, entries)?.applied().await?;
        }
        if let Some(last) = page.rows.last().filter(|_| page.more) {
            self.range = Range::after(last.clustering.clone());
        } else {
            self.range = Range::all();
            self.place = self.place.next();
        }
        Ok(ends)
    }

    fn values(&self, rows: &[Row]) -> Result<StateSwept, StoreError> {
        let mut swept = StateSwept::default();
        for row in rows {
            let value = StateRow::read(row)?;
            if value.position < self.before {
                swept.values.push(SweptValue {
                    event_type: value.event_type,
                    state_key: value.state_key,
                    position: value.position.packed(),
                });
            }
        }
        Ok(swept)
    }

    async fn bodies(
        &self,
        inner: &Inner,
        bucket: i64,
        rows: &[Row],
    ) -> Result<StateSwept, StoreError> {
        let mut swept = StateSwept::default();
        for row in rows {
            let body = EventRow::read(row)?;
            if body.position >= self.before {
                continue;
            }
            // Written again by the later installation, it is known by that.
            let place = match <&EventId>::try_from(body.event_id.as_str()) {
                Ok(event_id) => inner.reader.place(event_id).await?,
                Err(_) => None,
            };
            swept.events.push(SweptEvent {
                forgotten: place.is_some_and(|place| place.position == body.position),
                event_id: body.event_id,
                shelf: bucket,
                position: body.position.packed(),
            });
        }
        Ok(swept)
    }
}

impl Place {
    fn partition(self, room_id: &RoomId) -> (&'static Table, Vec<Value>) {
        let room_id = room_id.as_str();
        match self {
            Self::Shard(number) => (&ROOM_STATE, StateRow::partition(room_id, number)),
            Self::Shelf(number) => (&ROOM_EVENTS, EventRow::partition(room_id, shelf(number))),
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Shard(MEMBER_SHARDS) => Self::Shelf(0),
            Self::Shard(number) => Self::Shard(number + 1),
            Self::Shelf(number) => Self::Shelf(number + 1),
        }
    }
}

impl Inner {
    /// Whether an installation of a room that is not here has left anything.
    pub(super) async fn has_leftovers(&self, room_id: &RoomId) -> Result<bool, StoreError> {
        let shards = (0..=MEMBER_SHARDS).map(Place::Shard);
        for place in shards.chain([Place::Shelf(0)]) {
            let (table, partition) = place.partition(room_id);
            let (range, forward) = (Range::all(), Direction::Forward);
            let page = self
                .reader
                .page(table, partition, range, forward, 1)
                .await?;
            if !page.rows.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
