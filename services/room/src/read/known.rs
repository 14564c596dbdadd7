//! Events by their id, shown or not.

use hanse_event::Judged;
use hanse_log::Position;
use hanse_proto::room::EventStatus;
use hanse_store::StoreError;
use ruma::{EventId, RoomId};

use super::{RoomReader, TimelineEvent, stored_pdu};
use crate::tables::{HIDDEN_EVENTS, HiddenEventRow, is_shelf};

/// An event that has arrived, whatever became of it.
#[derive(Clone, Debug)]
pub(crate) struct KnownEvent {
    pub(crate) event: TimelineEvent,
    pub(crate) status: EventStatus,
    /// Where it arrived: after all that it cites, and before all that cites it.
    pub(crate) arrived: Position,
    /// Whether others may stand on it: it is not rejected, or it was not as an outlier, when they
    /// came.
    pub(crate) carries: bool,
}

impl KnownEvent {
    /// As the auth rules see it.
    pub(crate) fn judged(self) -> Judged {
        if self.status == EventStatus::Rejected {
            return Judged::Rejected(self.event.pdu);
        }
        Judged::Usable(self.event.pdu)
    }
}

impl RoomReader {
    /// An event of this room by its id, shown or not.
    pub(crate) async fn known(
        &self,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<Option<KnownEvent>, StoreError> {
        let place = self.place(event_id).await?;
        let Some(place) = place.filter(|place| place.room_id == room_id.as_str()) else {
            return Ok(None);
        };
        let status = EventStatus::try_from(place.status).unwrap_or_default();
        let stands = status == EventStatus::Accepted || is_shelf(place.bucket);
        let standing = if stands {
            self.event_at(room_id, place.bucket, place.position).await?
        } else {
            None
        };
        let event = if standing.is_some() || status == EventStatus::Accepted {
            standing
        } else {
            let key = HiddenEventRow::key(event_id.as_str());
            let row = self.get(&HIDDEN_EVENTS, &key).await?;
            let hidden = |row| {
                let pdu = stored_pdu(event_id.to_owned(), &HiddenEventRow::read(&row)?.json)?;
                Ok::<_, StoreError>(TimelineEvent {
                    pdu,
                    position: place.position,
                    transaction: None,
                    previous_event_id: None,
                })
            };
            row.map(hidden).transpose()?
        };
        let carries = status != EventStatus::Rejected || place.arrived.is_some();
        Ok(event.map(|event| KnownEvent {
            arrived: place.arrived.unwrap_or(place.position),
            event,
            status,
            carries,
        }))
    }
}
