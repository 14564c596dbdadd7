//! The view of a room that the user is in, or was.

use std::sync::Arc;

use hanse_log::Position;
use hanse_room::{HistoryPoint, Lens, TimelineEvent, TimelinePoint};
use hanse_user::AccountDatum;
use ruma::{
    api::client::sync::sync_events::v3::{JoinedRoom, LeftRoom, State, StateEvents, Timeline},
    events::room::member::MembershipState,
};

use crate::{
    SyncError, account_data,
    answer::{RoomAt, View},
    ask::Ask,
    memory::Changed,
    present,
    state::{Extent, Told, just_after},
    timeline::Shown,
    worker::Inner,
};

impl Inner {
    pub(crate) async fn joined(&self, ask: &Ask, at: &RoomAt) -> Result<Option<View>, SyncError> {
        let lens = self.lens_if_needed(ask, at).await?;
        let known = at.since.filter(|since| was_joined(lens.as_ref(), *since));
        let (after, extent) = match known {
            Some(since) if ask.full_state => (since, Extent::Full),
            Some(since) => (since, Extent::Since(since)),
            None => (Position::BEGINNING, Extent::Full),
        };
        let shown = self
            .timeline(ask, at, (after, at.now), lens.as_ref())
            .await?;
        let mut room = JoinedRoom::default();
        let mut state = self.state(ask, at, (extent, at.now), &shown).await?;
        room.ephemeral.events = self.ephemeral(ask, at, known).await?;
        room.account_data.events = match known {
            Some(_) => account_data::room_events(ask, &at.account_data),
            None => self.all_room_data(ask, at).await?,
        };
        let full = extent == Extent::Full;
        let nothing = shown.events.is_empty() && !shown.limited && state.is_empty();
        if !full && nothing && room.is_empty() {
            return Ok(None);
        }
        if state.members_changed {
            self.summarise(ask, at, &mut room).await?;
            let heroes = &room.summary.heroes;
            self.add_heroes(ask, at, extent, &shown, heroes, &mut state.events)
                .await?;
        }
        if full || at.changed != Changed::No {
            self.count_unread(ask, at, at.now, &mut room).await?;
        }
        room.timeline = self
            .present_timeline(ask, at, shown, (after, lens.as_ref()))
            .await?;
        room.state = self.present_state(ask, &state.events);
        Ok(Some(View::Joined(Box::new(room))))
    }

    /// A room that the user left, was kicked from, or is banned from: up to that point.
    pub(crate) async fn left(&self, ask: &Ask, at: &RoomAt) -> Result<Option<View>, SyncError> {
        let asked_for = ask.since.is_none() && ask.filter.room.include_leave;
        let told = at.since.is_some() || at.noticed;
        if !asked_for && !told {
            return Ok(None);
        }
        // Other devices have to learn that the room was left, however soon it was forgotten.
        if !told && self.is_forgotten(ask, at).await? {
            return Ok(None);
        }
        let room_id = &at.room.room_id;
        let lens = self.rooms.lens(room_id, &ask.user_id, at.now).await?;
        let left_at = at.room.position;
        let knew = at.since.filter(|since| was_joined(Some(&lens), *since));
        let was_in = lens.membership_before(left_at) == MembershipState::Join;
        let after = match knew {
            Some(since) => since,
            None if was_in => Position::BEGINNING,
            // An invitation that was refused or withdrawn, a ban of a stranger: the event alone.
            None => crate::state::just_before(left_at),
        };
        let mut shown = self
            .timeline(ask, at, (after, left_at), Some(&lens))
            .await?;
        if at.room.is_out_of_band() && !was_in && shown.events.is_empty() {
            // We were not in the room: the leave is in no timeline.
            let event = self.rooms.membership_event(&at.room).await?;
            let leave =
                event.filter(|event| event.pdu.membership() == Some(at.room.membership.clone()));
            shown.events.extend(leave.map(Arc::new));
        }
        let mut state = Told::default();
        if was_in {
            let extent = knew.map_or(Extent::Full, Extent::Since);
            state = self.state(ask, at, (extent, left_at), &shown).await?;
        }
        let mut room = LeftRoom::default();
        room.state = self.present_state(ask, &state.events);
        room.timeline = self
            .present_timeline(ask, at, shown, (after, Some(&lens)))
            .await?;
        Ok(Some(View::Left(Box::new(room))))
    }

    /// What the user may see matters only where it may have changed.
    async fn lens_if_needed(&self, ask: &Ask, at: &RoomAt) -> Result<Option<Lens>, SyncError> {
        if at.since.is_some_and(|since| at.room.position <= since) {
            return Ok(None);
        }
        Ok(Some(
            self.rooms
                .lens(&at.room.room_id, &ask.user_id, at.now)
                .await?,
        ))
    }

    async fn is_forgotten(&self, ask: &Ask, at: &RoomAt) -> Result<bool, SyncError> {
        let forgotten = self
            .users
            .forgotten_room(&ask.user_id, &at.room.room_id)
            .await?;
        Ok(forgotten.is_some_and(|forgotten| forgotten.covers(at.room.position)))
    }

    async fn all_room_data(
        &self,
        ask: &Ask,
        at: &RoomAt,
    ) -> Result<Vec<ruma::serde::Raw<ruma::events::AnyRoomAccountDataEvent>>, SyncError> {
        let room_id = &at.room.room_id;
        let all = self.users.all_account_data(&ask.user_id).await?;
        let of_room = |datum: &AccountDatum| datum.room_id.as_ref() == Some(room_id);
        let of_room: Vec<_> = all.into_iter().filter(of_room).collect();
        Ok(account_data::room_events(ask, &of_room))
    }

    async fn present_timeline(
        &self,
        ask: &Ask,
        at: &RoomAt,
        shown: Shown,
        (after, lens): (Position, Option<&Lens>),
    ) -> Result<Timeline, SyncError> {
        let mut timeline = Timeline::default();
        // The timeline goes by arrival, and so does who reads on from its start.
        let prev_batch = match shown.events.first() {
            Some(first) => first.arrival_point(),
            None if after < Position::START => TimelinePoint::History(HistoryPoint::START),
            None => TimelinePoint::Arrival(just_after(at.now)),
        };
        timeline.prev_batch = Some(prev_batch.to_string());
        timeline.limited = shown.limited;
        for event in &shown.events {
            timeline
                .events
                .push(self.present(ask, event, (lens, at.now)).await?);
        }
        Ok(timeline)
    }

    fn present_state(&self, ask: &Ask, state: &[TimelineEvent]) -> State {
        let now_ms = self.clock.now_ms();
        let events = state
            .iter()
            .map(|event| present::state_event(ask, now_ms, event));
        let events = StateEvents::with_events(events.collect());
        if ask.state_after {
            State::After(events)
        } else {
            State::Before(events)
        }
    }
}

/// Whether the user had joined as of a position; without a lens nothing changed since.
fn was_joined(lens: Option<&Lens>, at: Position) -> bool {
    lens.is_none_or(|lens| lens.membership_at(at) == MembershipState::Join)
}
