//! Events that do not simply follow the room's last one: the states on forks, and bringing them
//! together ([docs](../../../docs/event-graphs.md)).
//!
//! Everything here reads the archives, so that what was submitted before must be applied.
//!
//! Invariant: a state is never laid out to resolve it; what is read is what changed between the
//! states' bases, what conflicts, and what stands behind that, and each of these once.

mod forks;
mod merge;
mod nodes;
mod resolve;
mod view;
mod window;

use hanse_event::{Judged, Pdu};
use hanse_log::Position;
use hanse_proto::room::EventStatus;
use moka::sync::Cache;
use ruma::{EventId, OwnedEventId, RoomId, room_version_rules::RoomVersionRules};

pub(crate) use self::{
    forks::ForkedRooms,
    merge::Change,
    nodes::{extended, record},
    view::View,
};
use crate::{RoomError, RoomReader, read::KnownEvent};

/// Most events that one resolution looks at: conflicting ones, and those behind them.
const EVENTS_MAX: usize = 250_000;

/// Bytes of usable events that are kept, for auth chains foremost.
const BODIES_BYTES_MAX: u64 = 32 * 1_024 * 1_024;

/// An event that may stand behind others.
#[derive(Clone)]
pub(crate) struct Body {
    pdu: Pdu,
    /// Where it arrived.
    arrived: Position,
    /// Whether others may come to stand on it for ever: an outlier may be rejected at its place.
    is_final: bool,
}

/// Events that may authorise others.
pub(crate) type Bodies = Cache<OwnedEventId, Body>;

/// Bodies of all rooms.
pub(crate) fn bodies() -> Bodies {
    let weight =
        |_: &OwnedEventId, body: &Body| u32::try_from(body.pdu.weight()).unwrap_or(u32::MAX);
    Cache::builder()
        .weigher(weight)
        .max_capacity(BODIES_BYTES_MAX)
        .build()
}

/// A room's graph, as far as it is applied.
#[derive(Clone, Copy)]
pub(crate) struct Graph<'a> {
    pub(crate) reader: &'a RoomReader,
    pub(crate) room_id: &'a RoomId,
    pub(crate) rules: &'static RoomVersionRules,
    pub(crate) bodies: &'a Bodies,
    pub(crate) forks: &'a ForkedRooms,
    /// An event that is about to be taken in: part of the graph, and not in the archives.
    pub(crate) coming: Option<&'a Pdu>,
}

impl Graph<'_> {
    /// An event that has arrived, as the auth rules see it.
    pub(crate) async fn judged(&self, id: &EventId) -> Result<Option<Judged>, RoomError> {
        if let Some(body) = self.body(id).filter(|body| body.is_final) {
            return Ok(Some(Judged::Usable(body.pdu)));
        }
        let known = self.known(id).await?;
        Ok(known.map(KnownEvent::judged))
    }

    /// An event of the archives that may stand in a state or behind it, and where it arrived.
    async fn arrived(&self, id: &EventId) -> Result<Option<(Pdu, Position)>, RoomError> {
        if let Some(body) = self.body(id) {
            return Ok(Some((body.pdu, body.arrived)));
        }
        let known = self.known(id).await?.filter(|known| known.carries);
        Ok(known.map(|known| (known.event.pdu, known.arrived)))
    }

    fn body(&self, id: &EventId) -> Option<Body> {
        let is_here = |body: &Body| body.pdu.room_id() == self.room_id;
        self.bodies.get(id).filter(is_here)
    }

    async fn known(&self, id: &EventId) -> Result<Option<KnownEvent>, RoomError> {
        let known = self.reader.known(self.room_id, id).await?;
        if let Some(known) = known.as_ref().filter(|known| known.carries) {
            let body = Body {
                pdu: known.event.pdu.clone(),
                arrived: known.arrived,
                is_final: matches!(
                    known.status,
                    EventStatus::Accepted | EventStatus::SoftFailed
                ),
            };
            self.bodies.insert(id.to_owned(), body);
        }
        Ok(known)
    }

    /// The events that hold some state.
    pub(crate) async fn pdu(&self, id: &EventId) -> Result<Option<Pdu>, RoomError> {
        if let Some(coming) = self.coming.filter(|pdu| pdu.event_id() == id) {
            return Ok(Some(coming.clone()));
        }
        Ok(self.arrived(id).await?.map(|(pdu, _)| pdu))
    }
}

fn too_many() -> RoomError {
    let reason = format!("more than {EVENTS_MAX} events stand behind what conflicts");
    RoomError::TooLarge { reason }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "taken as `map_err` hands it over"
)]
fn unresolvable(error: hanse_event::resolve::ResolveError) -> RoomError {
    RoomError::BadContent {
        reason: error.to_string(),
    }
}
