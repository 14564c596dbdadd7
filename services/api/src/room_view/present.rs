//! Events in the form in which one user's device gets them.

use hanse_event::client::{self, Unsigned};
use hanse_room::TimelineEvent;
use ruma::{
    Int, TransactionId,
    events::{AnyStateEvent, AnyTimelineEvent},
    serde::Raw,
};
use serde_json::value::to_raw_value;

use super::RoomView;
use crate::error::ApiError;

impl RoomView {
    /// An event of the timeline: with what a state event replaced, with what relates to it, and
    /// with its transaction id where it goes to the device that sent it.
    pub(crate) async fn present(
        &self,
        event: &TimelineEvent,
    ) -> Result<Raw<AnyTimelineEvent>, ApiError> {
        let previous = match &event.previous_event_id {
            Some(event_id) => self.reader().event(self.room_id(), event_id).await?,
            None => None,
        };
        let lens = Some(&self.lens);
        let aggregated = self
            .reader()
            .aggregated(event, self.user_id(), lens, self.horizon);
        let relations = aggregated.await?;
        let mut unsigned = self.unsigned(event);
        unsigned = unsigned.replacing(previous.as_ref().map(|previous| &previous.pdu));
        let relations = relations
            .map(|relations| to_raw_value(&relations))
            .transpose();
        let relations = relations.map_err(|error| ApiError::internal(&error))?;
        unsigned.relations = relations.as_deref();
        Ok(client::timeline_event(&event.pdu, &unsigned))
    }

    /// Several of them.
    pub(crate) async fn present_all(
        &self,
        events: &[TimelineEvent],
    ) -> Result<Vec<Raw<AnyTimelineEvent>>, ApiError> {
        let mut presented = Vec::with_capacity(events.len());
        for event in events {
            presented.push(self.present(event).await?);
        }
        Ok(presented)
    }

    /// An event of the state.
    pub(crate) fn present_state(&self, event: &TimelineEvent) -> Raw<AnyStateEvent> {
        client::state_event(&event.pdu, &self.unsigned(event))
    }

    fn unsigned<'a>(&self, event: &'a TimelineEvent) -> Unsigned<'a> {
        let sent_ms = i64::from(event.pdu.origin_server_ts().0);
        let age_ms = (self.views.clock.now_ms() - sent_ms).max(0);
        let mut unsigned = Unsigned {
            age: Int::new(age_ms),
            membership: Some(self.lens.membership_at(event.position)),
            ..Unsigned::default()
        };
        if let Some((device_id, txn_id)) = &event.transaction
            && event.pdu.sender() == self.user_id
            && *device_id == self.device_id.as_str()
        {
            unsigned.transaction_id = Some(<&TransactionId>::from(txn_id.as_str()));
        }
        unsigned
    }
}
