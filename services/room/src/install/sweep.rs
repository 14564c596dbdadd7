//! Taking away what installations wrote that came to nothing: the process ended, the slot changed
//! hands, or the join was refused.
//!
//! Nobody was shown any of it. A later installation writes the same keys again, and sweeps the others
//! before it shows the room: a value that the first state had and the second has not must not stay.
//!
//! Invariant: the shelves on which anything stands are the first ones. They are filled in order and
//! swept from the last one down, so that a sweep that ended halfway hides nothing from the next.

use futures::{StreamExt, TryStreamExt, stream};
use hanse_log::Position;
use hanse_proto::room::{StateSwept, SweptEvent, SweptValue, room_entry};
use hanse_store::{Direction, Page, Range, Row, StoreError};
use ruma::RoomId;

use super::site::Site;
use crate::{
    RoomError, RoomReader,
    rooms::Inner,
    tables::{
        EVENTS, EventIdRow, EventRow, HIDDEN_EVENTS, HiddenEventRow, MEMBER_SHARDS, ROOM_EVENTS,
        ROOM_STATE, ROOM_STATE_VERSIONS, StateRow, shelf,
    },
};

/// Rows that are looked at in one go.
const PAGE: usize = 100;
/// Events that are looked up at once.
const AT_ONCE: usize = 16;

/// Walks over everything that installations of a room may have written.
pub(super) struct Sweep {
    /// What stands at this position or after it stays.
    before: Position,
    /// `None`: all of it was swept.
    place: Option<Place>,
    /// Where in its partition it goes on.
    range: Range,
}

/// A partition.
#[derive(Clone, Copy)]
enum Place {
    /// Of the state.
    Shard(i64),
    /// Of the values that its keys had before: in an attempt after which there was another.
    Versions(i64),
    /// Of the bodies.
    Shelf(i64),
}

impl Sweep {
    /// Takes away what stands before the first event of an installation.
    pub(super) fn before(before: Position) -> Self {
        Self {
            before,
            place: Some(Place::Shard(0)),
            range: Range::all(),
        }
    }

    /// Takes away everything.
    pub(super) fn whole() -> Self {
        Self::before(Position::END)
    }

    /// Takes away what is on the next page; `true`: there was none left.
    pub(super) async fn next_page(
        &mut self,
        inner: &Inner,
        site: &Site,
    ) -> Result<bool, RoomError> {
        let (reader, room_id) = (&inner.reader, &*site.room_id);
        let Some(place) = self.place else {
            if self.before == Position::END {
                site.write_ended(inner).await?;
            }
            return Ok(true);
        };
        let page = place.page(reader, room_id, self.range.clone(), PAGE);
        let page = page.await?;
        let swept = self.swept(reader, place, &page.rows).await?;
        if !swept.events.is_empty() || !swept.values.is_empty() {
            let kind = room_entry::Kind::StateSwept(swept);
            site.write(inner, kind).await?;
        }
        if let Some(last) = page.rows.last().filter(|_| page.more) {
            self.range = Range::after(last.clustering.clone());
        } else {
            self.range = Range::all();
            self.place = place.next(reader, room_id).await?;
        }
        Ok(false)
    }

    async fn swept(
        &self,
        reader: &RoomReader,
        place: Place,
        rows: &[Row],
    ) -> Result<StateSwept, StoreError> {
        let mut swept = StateSwept::default();
        match place {
            Place::Shard(_) => {
                let values = rows.iter().map(StateRow::read);
                swept.values = self.values(values, false)?;
            }
            // The versions of values that are current went with them, or stay with them.
            Place::Versions(_) => {
                let values = rows.iter().map(StateRow::read_version);
                swept.values = self.values(values, true)?;
            }
            Place::Shelf(number) => swept.events = self.bodies(reader, number, rows).await?,
        }
        Ok(swept)
    }

    fn values(
        &self,
        values: impl Iterator<Item = Result<StateRow, StoreError>>,
        replaced: bool,
    ) -> Result<Vec<SweptValue>, StoreError> {
        let is_swept =
            |value: &Result<StateRow, _>| value.as_ref().map_or(true, |v| v.position < self.before);
        let swept = values.filter(is_swept).map(|value| {
            let value = value?;
            Ok(SweptValue {
                event_type: value.event_type,
                state_key: value.state_key,
                position: value.position.packed(),
                replaced,
            })
        });
        swept.collect()
    }

    async fn bodies(
        &self,
        reader: &RoomReader,
        number: i64,
        rows: &[Row],
    ) -> Result<Vec<SweptEvent>, StoreError> {
        let mut bodies = Vec::with_capacity(rows.len());
        for row in rows {
            bodies.push(EventRow::read(row)?);
        }
        bodies.retain(|body| body.position < self.before);
        let swept = stream::iter(bodies).map(|body| swept_event(reader, shelf(number), body));
        swept.buffered(AT_ONCE).try_collect().await
    }
}

async fn swept_event(
    reader: &RoomReader,
    shelf: i64,
    body: EventRow,
) -> Result<SweptEvent, StoreError> {
    // Written again by the later installation, it is known by that.
    let key = EventIdRow::key(&body.event_id);
    let place = reader.get(&EVENTS, &key).await?;
    let place = place.as_ref().map(EventIdRow::read).transpose()?;
    let is_last = place.is_some_and(|place| place.position == body.position);
    // Of a room that is not here nothing else is kept aside: an invitation may wait for its answer.
    let key = HiddenEventRow::key(&body.event_id);
    let out_of_band = is_last && reader.get(&HIDDEN_EVENTS, &key).await?.is_some();
    Ok(SweptEvent {
        event_id: body.event_id,
        shelf,
        position: body.position.packed(),
        forgotten: is_last && !out_of_band,
        out_of_band,
    })
}

impl Place {
    async fn page(
        self,
        reader: &RoomReader,
        room_id: &RoomId,
        range: Range,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let room_id = room_id.as_str();
        let (table, partition) = match self {
            Self::Shard(number) => (&ROOM_STATE, StateRow::partition(room_id, number)),
            Self::Versions(number) => (&ROOM_STATE_VERSIONS, StateRow::partition(room_id, number)),
            Self::Shelf(number) => (&ROOM_EVENTS, EventRow::partition(room_id, shelf(number))),
        };
        let forward = Direction::Forward;
        reader.page(table, partition, range, forward, limit).await
    }

    async fn is_empty(self, reader: &RoomReader, room_id: &RoomId) -> Result<bool, StoreError> {
        let page = self.page(reader, room_id, Range::all(), 1).await?;
        Ok(page.rows.is_empty())
    }

    async fn next(self, reader: &RoomReader, room_id: &RoomId) -> Result<Option<Self>, StoreError> {
        Ok(match self {
            Self::Shard(MEMBER_SHARDS) => Some(Self::Versions(0)),
            Self::Shard(number) => Some(Self::Shard(number + 1)),
            Self::Versions(MEMBER_SHARDS) => Self::last_shelf(reader, room_id).await?,
            Self::Versions(number) => Some(Self::Versions(number + 1)),
            Self::Shelf(0) => None,
            Self::Shelf(number) => Some(Self::Shelf(number - 1)),
        })
    }

    /// The last one on which anything stands.
    async fn last_shelf(reader: &RoomReader, room_id: &RoomId) -> Result<Option<Self>, StoreError> {
        let mut last = None;
        for shelf in (0..).map(Self::Shelf) {
            if shelf.is_empty(reader, room_id).await? {
                break;
            }
            last = Some(shelf);
        }
        Ok(last)
    }
}

impl Inner {
    /// Whether an installation of a room that is not here has left anything.
    pub(super) async fn has_leftovers(&self, room_id: &RoomId) -> Result<bool, StoreError> {
        // Everything has a body, and the first shelf is swept last.
        let is_empty = Place::Shelf(0).is_empty(&self.reader, room_id).await?;
        Ok(!is_empty)
    }
}
