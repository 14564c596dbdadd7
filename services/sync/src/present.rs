//! Events as one client sees them.

use hanse_event::client::{self, Unsigned};
use hanse_log::Position;
use hanse_room::{Lens, TimelineEvent};
use ruma::{
    Int, TransactionId,
    events::{AnySyncStateEvent, AnySyncTimelineEvent, room::member::MembershipState},
    serde::Raw,
};

use serde_json::value::to_raw_value;

use crate::{SyncError, ask::Ask, fields, memory::Changed, worker::Inner};

impl Inner {
    /// A timeline event: with the transaction id for the device that sent it, with what a state
    /// event replaced, and with what relates to it.
    pub(crate) async fn present(
        &self,
        ask: &Ask,
        event: &TimelineEvent,
        (lens, now): (Option<&Lens>, Position),
    ) -> Result<Raw<AnySyncTimelineEvent>, SyncError> {
        let previous = match &event.previous_event_id {
            Some(event_id) => self.rooms.event(event.pdu.room_id(), event_id).await?,
            None => None,
        };
        let membership = match lens {
            Some(lens) => lens.membership_at(event.position),
            // Nothing changed since the token, at which the user was in the room.
            None => MembershipState::Join,
        };
        let mut unsigned = Unsigned {
            age: age(self.clock.now_ms(), event),
            membership: Some(membership),
            ..Unsigned::default()
        }
        .replacing(previous.as_ref().map(|previous| &previous.pdu));
        let own = event.pdu.sender() == ask.user_id;
        if let Some((device_id, txn_id)) = event.transaction.as_ref().filter(|_| own)
            && device_id == ask.device_id.as_str()
        {
            unsigned.transaction_id = Some(<&TransactionId>::from(txn_id.as_str()));
        }
        let relations = if self.may_be_related_to(event) {
            let reader = &ask.user_id;
            self.rooms.aggregated(event, reader, lens, now).await?
        } else {
            None
        };
        let relations = relations.and_then(|relations| to_raw_value(&relations).ok());
        unsigned.relations = relations.as_deref();
        let shown = client::sync_timeline_event(&event.pdu, &unsigned);
        Ok(fields::keep(shown, ask.filter.event_fields.as_deref()))
    }
}

impl Inner {
    /// Nothing relates to a room's newest event if it was made here: nobody knew its id before.
    fn may_be_related_to(&self, event: &TimelineEvent) -> bool {
        let room_id = event.pdu.room_id();
        let slot = self.logs.slot_of(room_id.as_str());
        let memory = self.memory.read();
        let newest = memory.events_changed(room_id, slot, event.position) == Changed::No;
        !newest || event.pdu.sender().server_name() != self.users.server_name()
    }
}

/// A state event outside of the timeline.
pub(crate) fn state_event(ask: &Ask, now_ms: i64, event: &TimelineEvent) -> Raw<AnySyncStateEvent> {
    let unsigned = Unsigned {
        age: age(now_ms, event),
        ..Unsigned::default()
    };
    let shown = client::sync_state_event(&event.pdu, &unsigned);
    fields::keep(shown, ask.filter.event_fields.as_deref())
}

fn age(now_ms: i64, event: &TimelineEvent) -> Option<Int> {
    let sent = i64::from(event.pdu.origin_server_ts().0);
    Int::new((now_ms - sent).max(0))
}
