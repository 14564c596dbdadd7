//! The hashes that events of room version 2 carry beside the ids of the events that they name. From
//! version 3 on an id is a hash itself.

use std::collections::BTreeMap;

use hanse_event::{Pdu, Placement};
use hanse_store::StoreError;
use ruma::{EventId, OwnedEventId, room_version_rules::EventsReferenceFormatVersion};

use crate::{RoomError, hot::Hot, rooms::Inner};

impl Hot {
    /// Whether events of this room name others with their hashes.
    pub(crate) fn names_with_hashes(&self) -> bool {
        self.rules.events_reference_format == EventsReferenceFormatVersion::V1
    }

    /// Keeps the room's newest ends where the next event will need their hashes: they may not be in
    /// the archives by then.
    pub(crate) fn keep_ends(&mut self, accepted: &Pdu) {
        if !self.names_with_hashes() {
            return;
        }
        let ends = &self.head.forward_extremities;
        self.ends.push(accepted.clone());
        self.ends
            .retain(|pdu| ends.iter().any(|end| end == pdu.event_id().as_str()));
    }
}

impl Inner {
    /// The hash of every event that a new one names: of those that authorise it, and of those that it
    /// follows.
    pub(crate) async fn reference_hashes(
        &self,
        hot: &Hot,
        authority: Vec<Pdu>,
        place: &Placement<'_>,
    ) -> Result<BTreeMap<OwnedEventId, String>, RoomError> {
        let mut named = authority;
        for event_id in &place.prev_events {
            named.extend(self.end(hot, event_id).await?);
        }
        let mut hashes = BTreeMap::new();
        for pdu in named {
            let hash = pdu.reference_hash(hot.rules);
            let hash = hash.map_err(RoomError::bad_content)?;
            hashes.insert(pdu.event_id().to_owned(), hash);
        }
        Ok(hashes)
    }

    async fn end(&self, hot: &Hot, event_id: &EventId) -> Result<Option<Pdu>, StoreError> {
        if let Some(pdu) = hot.ends.iter().find(|pdu| pdu.event_id() == event_id) {
            return Ok(Some(pdu.clone()));
        }
        let known = self.reader.known(&hot.room_id, event_id).await?;
        Ok(known.map(|known| known.event.pdu))
    }
}
