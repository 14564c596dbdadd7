//! Outliers: events that are kept without a place in the graph, as parts of auth chains and of states.

use hanse_event::{Judged, Pdu, Received, check_by_auth_events};
use hanse_proto::room::{Event, EventStatus, room_entry};
use ruma::{EventId, RoomId};

use super::{Arrived, Decision, Fate, ReceiveOutliers, UNDER_WAY_MAX, check_events, signed};
use crate::{RoomError, Rooms, hot::Hot, rooms::Inner, written::Written};

impl Rooms {
    /// Keeps parts of auth chains or of states, those before others first ([spec]). Each is judged by
    /// its own auth events alone, so that all of these have come: auth chains come as a whole, in as
    /// many calls as they need.
    ///
    /// They are in no timeline and no ends of the room, and nobody is told. One that comes again
    /// through [`Rooms::receive`] or [`Rooms::backfill`] takes its place.
    ///
    /// [spec]: https://spec.matrix.org/v1.16/server-server-api/#authorization-rules
    pub async fn receive_outliers(
        &self,
        room_id: &RoomId,
        events: Vec<Received>,
    ) -> Result<Vec<Arrived>, RoomError> {
        check_events(room_id, events.iter())?;
        let command = ReceiveOutliers {
            room_id: room_id.to_owned(),
            events: signed(events),
        };
        self.routed(command).await
    }
}

impl Inner {
    pub(super) async fn keep_outlier(
        &self,
        hot: &mut Hot,
        pdu: &Pdu,
    ) -> Result<Decision, RoomError> {
        if hot.under_way.len() >= UNDER_WAY_MAX {
            self.settle(hot).await?;
        }
        let id = pdu.event_id();
        if hot.under_way.contains_key(id) || self.reader.place(id).await?.is_some() {
            return Ok(Decision::nothing(Fate::Known));
        }
        let (auth_events, missing) = self.auth_events(hot, pdu).await?;
        if !missing.is_empty() {
            return Ok(Decision::nothing(Fate::Missing { events: missing }));
        }
        let fetch = |id: &EventId| auth_events.get(id).cloned();
        let allowed = check_by_auth_events(pdu, hot.rules, fetch);
        let refused =
            Self::second_create(hot, pdu).or_else(|| allowed.err().map(|rejected| rejected.reason));
        Ok(self.outlier(hot, pdu, refused))
    }

    fn outlier(&self, hot: &mut Hot, pdu: &Pdu, refused: Option<String>) -> Decision {
        let id = pdu.event_id();
        let (judged, fate) = match refused.clone() {
            None => (Judged::Usable(pdu.clone()), Fate::Outlier),
            Some(reason) => (Judged::Rejected(pdu.clone()), Fate::Rejected { reason }),
        };
        hot.under_way.insert(id.to_owned(), judged);
        hot.outliers.insert(id.to_owned());
        let kind = room_entry::Kind::Event(outlier_event(pdu, refused));
        let written = Written::of(hot.entry(self.clock.now_ms(), Vec::new(), kind));
        Decision { fate, written }
    }
}

/// The record of an outlier; `refused`: the rule that refuses it, for people.
pub(crate) fn outlier_event(pdu: &Pdu, refused: Option<String>) -> Event {
    let status = match refused {
        None => EventStatus::Outlier,
        Some(_) => EventStatus::Rejected,
    };
    Event {
        event_id: pdu.event_id().to_string(),
        json: pdu.json().to_owned(),
        status: status.into(),
        depth: pdu.depth() as i64,
        reason: refused.unwrap_or_default(),
        ..Event::default()
    }
}
