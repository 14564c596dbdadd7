//! The short way: an event that follows everything the room ends in.

use hanse_event::{Pdu, Verdict, auth_types_of, judge};
use ruma::{
    EventId,
    events::{StateEventType, TimelineEventType},
};

use super::{AuthEvents, Decision, Fate, forked::Before};
use crate::{RoomError, entry::Place, hot::Hot, read::Chain, rooms::Inner, written::Written};

impl Inner {
    /// Judges an event by the current state, which is the state before it, and takes it in.
    pub(super) async fn receive_linear(
        &self,
        hot: &mut Hot,
        pdu: &Pdu,
        auth_events: &AuthEvents,
    ) -> Result<Decision, RoomError> {
        self.ensure_current(hot, pdu).await?;
        let state = |event_type: &StateEventType, state_key: &str| {
            hot.state(&event_type.to_string(), state_key).cloned()
        };
        let fetch = |id: &EventId| auth_events.get(id).cloned();
        match judge(pdu.clone(), hot.rules, fetch, state, state) {
            Verdict::Accepted(_) => self.take_linear(hot, pdu).await,
            refused => {
                self.settle(hot).await?;
                let before = Before::of(Chain::linear(self.last_position(hot).await?));
                self.hide(hot, pdu, &before, Fate::of(&refused)).await
            }
        }
    }

    /// Has in memory what the current state says about who may send this event.
    pub(super) async fn ensure_current(&self, hot: &mut Hot, pdu: &Pdu) -> Result<(), RoomError> {
        let keys = auth_types_of(pdu, hot.rules).unwrap_or_default();
        hot.ensure(&self.reader, &keys).await?;
        if *pdu.event_type() == TimelineEventType::RoomMember
            && let Some(user) = pdu.state_key()
        {
            hot.ensure_member(&self.reader, user).await?;
        }
        Ok(())
    }

    async fn take_linear(&self, hot: &mut Hot, pdu: &Pdu) -> Result<Decision, RoomError> {
        let place = Place {
            state: hot.state_change(pdu, &self.server_name),
            forward_extremities: vec![pdu.event_id().to_string()],
            event_state: None,
            opens_depth_bucket: self.opens_depth_bucket(hot, pdu).await?,
        };
        // No redaction can have come before it: whatever did is behind it, and could not know its id,
        // which is a hash. (In version 2 it is chosen: a server could spare what it sends itself.)
        let circumstances = self.circumstances(self.effect(hot, pdu).await?);
        let entry = hot.accept_at(pdu, place, circumstances);
        Ok(Decision::taken(hot, pdu, Written::of(entry)))
    }
}
