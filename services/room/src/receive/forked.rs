//! The long way: an event that follows something else than the room's end is judged by the state
//! before it, which may first have to be resolved.

use std::{collections::HashMap, ops::ControlFlow};

use hanse_event::{Pdu, Verdict, auth_types_of, judge};
use hanse_log::Position;
use ruma::{
    EventId, OwnedEventId,
    events::{StateEventType, TimelineEventType},
};

use super::{Coming, Decision, Fate, placing::ends};
use crate::{
    RoomError,
    graph::View,
    hot::Hot,
    read::{Chain, Delta, StateKey},
    rooms::Inner,
};

/// The state before an event.
pub(crate) struct Before {
    pub(super) chain: Chain,
    /// What differs from the chain, where several states were resolved to one.
    pub(super) over: Delta,
}

impl Before {
    /// A state that is there already.
    pub(crate) fn of(chain: Chain) -> Self {
        let over = Delta::new();
        Self { chain, over }
    }

    pub(crate) fn view(&self) -> View {
        View::of(&self.chain).with(&self.over)
    }
}

impl Inner {
    /// Judges an event by the state before it and by the current state, and gives it its place.
    /// Everything that was decided on the room before must be applied.
    pub(super) async fn receive_forked(
        &self,
        hot: &mut Hot,
        coming: &Coming<'_>,
        states: &[Vec<OwnedEventId>],
    ) -> Result<Decision, RoomError> {
        let pdu = coming.pdu;
        if let Some(reason) = Self::second_create(hot, pdu) {
            let before = Before::of(Chain::linear(Position::BEGINNING));
            let fate = Fate::Rejected { reason };
            let decision = self.hide(hot, pdu, &before, fate).await?;
            return Ok(decision.with(coming, None));
        }
        let (chains, missing) = self.chains_of(hot, pdu.prev_events()).await?;
        let mut candidates: Vec<Before> = chains.into_iter().map(Before::of).collect();
        if !missing.is_empty() {
            match self.fetched(hot, states).await? {
                ControlFlow::Continue(fetched) if fetched.is_empty() => {
                    return Ok(Decision::nothing(Fate::Missing { events: missing }));
                }
                ControlFlow::Continue(fetched) => candidates.extend(fetched),
                ControlFlow::Break(fate) => return Ok(Decision::nothing(fate)),
            }
        }
        let before = self.before(hot, candidates).await?;
        let behind_a_gap = !missing.is_empty();
        let mut gap = None;
        let decision = match self.verdict(hot, coming, &before, behind_a_gap).await? {
            Verdict::Accepted(_) => {
                gap = self.gap(missing).await?;
                self.take_forked(hot, coming, &before).await?
            }
            refused => self.hide(hot, pdu, &before, Fate::of(&refused)).await?,
        };
        Ok(decision.with(coming, gap))
    }

    /// Why an event is refused that is a create event: the room has one. That one itself may come, if
    /// it was an outlier.
    pub(super) fn second_create(hot: &Hot, pdu: &Pdu) -> Option<String> {
        let is_create = *pdu.event_type() == TimelineEventType::RoomCreate;
        let held = hot.state("m.room.create", "");
        let is_other = is_create && held.is_none_or(|create| create.event_id() != pdu.event_id());
        is_other.then(|| "the room has a create event".to_owned())
    }

    pub(super) async fn verdict(
        &self,
        hot: &mut Hot,
        coming: &Coming<'_>,
        before: &Before,
        behind_a_gap: bool,
    ) -> Result<Verdict, RoomError> {
        let pdu = coming.pdu;
        let keys = auth_types_of(pdu, hot.rules).unwrap_or_default();
        let state_before = self.authorising(hot, keys.clone(), &before.view()).await?;
        self.ensure_current(hot, pdu).await?;
        let state_now = if coming.begins_anew {
            Some(state_before.clone())
        } else if behind_a_gap {
            let now = self.current_with(hot, before).await?;
            Some(self.authorising(hot, keys, &now).await?)
        } else {
            None
        };
        let fetch = |id: &EventId| coming.auth_events.get(id).cloned();
        let then = |event_type: &StateEventType, state_key: &str| {
            let key = (event_type.to_string(), state_key.to_owned());
            state_before.get(&key).cloned()
        };
        let now = |event_type: &StateEventType, state_key: &str| {
            let key = (event_type.to_string(), state_key.to_owned());
            match &state_now {
                Some(state) => state.get(&key).cloned(),
                None => hot.state(&key.0, &key.1).cloned(),
            }
        };
        Ok(judge(pdu.clone(), hot.rules, fetch, then, now))
    }

    /// The current state, brought together with one that was fetched. By the current state alone,
    /// nobody could say anything behind a gap who came in it.
    async fn current_with(&self, hot: &Hot, before: &Before) -> Result<View, RoomError> {
        let mut views = self.views_of(hot, &ends(hot)).await?;
        views.push(before.view());
        let current = View::linear(self.last_position(hot).await?);
        let changes = self.graph(hot).changes(&views, &current).await?;
        let changes = changes.into_iter().map(|change| (change.key, change.value));
        Ok(current.with(&changes.collect()))
    }

    /// The states after some events, each once, and which of the events have none here.
    pub(crate) async fn chains_of(
        &self,
        hot: &Hot,
        events: &[OwnedEventId],
    ) -> Result<(Vec<Chain>, Vec<OwnedEventId>), RoomError> {
        let (mut chains, mut missing): (Vec<Chain>, Vec<_>) = (Vec::new(), Vec::new());
        for id in events {
            match self
                .reader
                .chain_of(&hot.room_id, id, Some(&self.nodes))
                .await?
            {
                Some(chain) if chains.iter().any(|other| other.is(&chain)) => {}
                Some(chain) => chains.push(chain),
                None => missing.push(id.clone()),
            }
        }
        Ok((chains, missing))
    }

    /// The state before an event: that after its only predecessor, or what those after several are
    /// resolved to, told by what changes from the one that is closest to it.
    pub(crate) async fn before(
        &self,
        hot: &Hot,
        mut states: Vec<Before>,
    ) -> Result<Before, RoomError> {
        let nothing = || Before::of(Chain::linear(Position::BEGINNING));
        if states.len() < 2 {
            return Ok(states.pop().unwrap_or_else(nothing));
        }
        let views: Vec<View> = states.iter().map(Before::view).collect();
        let (closest, changes) = self.graph(hot).closest(&views).await?;
        let mut before = states.swap_remove(closest);
        before.over.extend(changes);
        Ok(before)
    }

    /// What a state says about who may send an event that these keys authorise.
    pub(crate) async fn authorising(
        &self,
        hot: &Hot,
        mut keys: Vec<(StateEventType, String)>,
        state: &View,
    ) -> Result<HashMap<StateKey, Pdu>, RoomError> {
        keys.push((StateEventType::RoomCreate, String::new()));
        let graph = self.graph(hot);
        let mut events = HashMap::new();
        for (event_type, state_key) in keys {
            let key = (event_type.to_string(), state_key);
            if let Some(id) = graph.value(state, &key).await?
                && let Some(pdu) = graph.pdu(&id).await?
            {
                events.insert(key, pdu);
            }
        }
        Ok(events)
    }

    /// The states at the room's end, each once, if it ended in these events.
    pub(super) async fn views_of(
        &self,
        hot: &Hot,
        events: &[OwnedEventId],
    ) -> Result<Vec<View>, RoomError> {
        let (chains, _) = self.chains_of(hot, events).await?;
        Ok(chains.iter().map(View::of).collect())
    }
}
