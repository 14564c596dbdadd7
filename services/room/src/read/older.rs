//! Who may see backfilled events: their positions say nothing about the state at them, so that it
//! is looked up.

use hanse_event::visibility::visibility_of;
use hanse_log::Position;
use hanse_store::StoreError;
use ruma::{
    OwnedEventId, RoomId,
    events::room::{history_visibility::HistoryVisibility, member::MembershipState},
};

use super::{Lens, RoomReader, StateKey, TimelineEvent};

/// What holds just before a backfilled event.
#[derive(Clone, Debug)]
pub(super) struct Then {
    pub(super) visibility: HistoryVisibility,
    pub(super) membership: MembershipState,
}

impl RoomReader {
    /// Lets a lens judge those of these events that were backfilled. Without this, and where no state
    /// is known before an event, it shows none of them.
    pub async fn look_back(
        &self,
        room_id: &RoomId,
        lens: &mut Lens,
        events: &[TimelineEvent],
    ) -> Result<(), StoreError> {
        for event in events {
            if event.position < Position::START
                && !lens.then.contains_key(&event.position)
                && let Some(then) = self.then(room_id, lens, event).await?
            {
                lens.then.insert(event.position, then);
            }
        }
        Ok(())
    }

    async fn then(
        &self,
        room_id: &RoomId,
        lens: &Lens,
        event: &TimelineEvent,
    ) -> Result<Option<Then>, StoreError> {
        let own = ("m.room.member".to_owned(), lens.reader.to_string());
        let visibility = ("m.room.history_visibility".to_owned(), String::new());
        let Some(visibility) = self.before_event(room_id, event, &visibility).await? else {
            return Ok(None);
        };
        let Some(own) = self.before_event(room_id, event, &own).await? else {
            return Ok(None);
        };
        let visibility = self.known_or_none(room_id, visibility).await?;
        let own = self.known_or_none(room_id, own).await?;
        let membership = own.as_ref().and_then(|own| own.pdu.membership());
        Ok(Some(Then {
            visibility: visibility_of(visibility.as_ref().map(|event| &event.pdu)),
            membership: membership.unwrap_or(MembershipState::Leave),
        }))
    }

    /// What holds a key just before an event; outer `None`: no state is known there.
    async fn before_event(
        &self,
        room_id: &RoomId,
        event: &TimelineEvent,
        key: &StateKey,
    ) -> Result<Option<Option<OwnedEventId>>, StoreError> {
        let id = event.pdu.event_id();
        let Some(row) = self.event_state(id).await? else {
            return Ok(None);
        };
        let (event_type, state_key) = key;
        let sets_it = event.pdu.type_name() == event_type
            && event.pdu.state_key() == Some(state_key.as_str());
        if sets_it {
            return Ok(Some(row.replaced.and_then(|id| id.try_into().ok())));
        }
        let Some(chain) = self.chain_of(room_id, id, None).await? else {
            return Ok(None);
        };
        if let Some(value) = chain.delta().get(key) {
            return Ok(Some(value.clone()));
        }
        let held = self
            .state(room_id, event_type, state_key, chain.base)
            .await?;
        Ok(Some(held.map(|state| state.event_id)))
    }

    async fn known_or_none(
        &self,
        room_id: &RoomId,
        event_id: Option<OwnedEventId>,
    ) -> Result<Option<TimelineEvent>, StoreError> {
        let Some(event_id) = event_id else {
            return Ok(None);
        };
        let known = self.known(room_id, &event_id).await?;
        Ok(known.map(|known| known.event))
    }
}
