//! Events taken on states that were fetched, since what lies before them has not arrived.

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
};

use hanse_event::{Judged, Received};
use hanse_proto::room::Gap;
use ruma::{EventId, OwnedEventId, RoomId};

use super::{
    Arrived, Fate, ReceiveFetched, check_events, forked::Before, handed::FetchedEvent,
    placing::state_key_of,
};
use crate::{
    RoomError, Rooms, StateIds,
    commands::SignedEvent,
    hot::Hot,
    read::{Chain, Delta, StateKey},
    rooms::Inner,
};

/// Ids in all states that come with one event.
pub const FETCHED_IDS_MAX: usize = 20_000;

/// An event from elsewhere with what was fetched for it.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The event.
    pub event: Received,
    /// The states after those of its `prev_events` that have not arrived, as another server tells
    /// them ([spec]): the ids of the events that hold them. The events are known, as outliers if not
    /// otherwise.
    ///
    /// [spec]: https://spec.matrix.org/v1.16/server-server-api/#get_matrixfederationv1state_idsroomid
    pub states: Vec<Vec<OwnedEventId>>,
}

impl Fetched {
    fn check(&self) -> Result<(), RoomError> {
        if self.states.iter().map(Vec::len).sum::<usize>() > FETCHED_IDS_MAX {
            let reason = format!("more than {FETCHED_IDS_MAX} events in fetched states");
            return Err(RoomError::TooLarge { reason });
        }
        Ok(())
    }
}

/// Bounds what is handed over at once.
pub(super) fn check_fetched(room_id: &RoomId, events: &[Fetched]) -> Result<(), RoomError> {
    check_events(room_id, events.iter().map(|fetched| &fetched.event))?;
    events.iter().try_for_each(Fetched::check)
}

impl From<Fetched> for FetchedEvent {
    fn from(fetched: Fetched) -> Self {
        let Fetched { event, states } = fetched;
        let event = SignedEvent(event.pdu);
        Self { event, states }
    }
}

impl Rooms {
    /// Takes an event some of whose `prev_events` have not arrived and will not soon: the state before
    /// it is what the states after its other `prev_events` and those that were fetched are resolved
    /// to. History is missing before it from then on: a gap.
    pub async fn receive_fetched(
        &self,
        room_id: &RoomId,
        fetched: Fetched,
    ) -> Result<Arrived, RoomError> {
        let event_id = fetched.event.pdu.event_id().to_owned();
        check_fetched(room_id, std::slice::from_ref(&fetched))?;
        let command = ReceiveFetched {
            room_id: room_id.to_owned(),
            event: fetched.into(),
        };
        let arrived = self.routed(command).await?.pop();
        arrived.ok_or(RoomError::UnknownEvent { event_id })
    }
}

impl Inner {
    /// Fetched states, each told by what differs from the current one. `Break`: they are not known
    /// whole. What was rejected here is in no state, unless it is in the current one.
    pub(super) async fn fetched(
        &self,
        hot: &Hot,
        states: &[Vec<OwnedEventId>],
    ) -> Result<ControlFlow<Fate, Vec<Before>>, RoomError> {
        if states.is_empty() {
            return Ok(ControlFlow::Continue(Vec::new()));
        }
        let chain = Chain::linear(self.last_position(hot).await?);
        let current = self.reader.laid_out(&hot.room_id, &chain).await?;
        let (mut befores, mut missing) = (Vec::new(), Vec::new());
        for ids in states {
            let state = self.by_key(hot, ids, &current, &mut missing).await?;
            befores.push(Before::told(&chain, &current, &state));
        }
        if missing.is_empty() {
            return Ok(ControlFlow::Continue(befores));
        }
        missing.sort();
        missing.dedup();
        Ok(ControlFlow::Break(Fate::Missing { events: missing }))
    }

    /// A state that came whole.
    pub(super) async fn given(&self, hot: &Hot, state: &StateIds) -> Result<Before, RoomError> {
        let chain = Chain::linear(self.last_position(hot).await?);
        let current = self.reader.laid_out(&hot.room_id, &chain).await?;
        check_create(&current, state)?;
        Ok(Before::told(&chain, &current, state))
    }

    /// A state by its keys. What is in the current state is not looked up.
    async fn by_key(
        &self,
        hot: &Hot,
        ids: &[OwnedEventId],
        current: &StateIds,
        missing: &mut Vec<OwnedEventId>,
    ) -> Result<StateIds, RoomError> {
        let held: HashMap<&EventId, &StateKey> =
            current.iter().map(|(key, id)| (&**id, key)).collect();
        let mut state = BTreeMap::new();
        for id in ids {
            let key = match held.get(&**id) {
                Some(key) => Some((*key).clone()),
                None => match self.graph(hot).judged(id).await? {
                    Some(Judged::Usable(pdu)) => state_key_of(&pdu),
                    Some(Judged::Rejected(_)) => continue,
                    None => {
                        missing.push(id.clone());
                        continue;
                    }
                },
            };
            let key = key.ok_or_else(|| unlikely("an event in a state that is none"))?;
            if state.insert(key, id.clone()).is_some() {
                return Err(unlikely("two events for one key of a state"));
            }
        }
        if missing.is_empty() {
            check_create(current, &state)?;
        }
        Ok(state)
    }

    /// The gap that an event leaves: what it follows and what has no place in the graph. An event that
    /// was backfilled without a state has one.
    pub(super) async fn gap(&self, missing: Vec<OwnedEventId>) -> Result<Option<Gap>, RoomError> {
        let mut gap = Gap::default();
        for id in missing {
            let place = self.reader.place(&id).await?;
            if !place.is_some_and(|place| place.is_backfilled()) {
                gap.missing.push(id.to_string());
            }
        }
        Ok(Some(gap).filter(|gap| !gap.missing.is_empty()))
    }
}

impl Before {
    /// A state, told by what differs from the current one.
    fn told(chain: &Chain, current: &StateIds, state: &StateIds) -> Self {
        let over = difference(current, state);
        let chain = chain.clone();
        Self { chain, over }
    }
}

fn check_create(current: &StateIds, state: &StateIds) -> Result<(), RoomError> {
    let create = ("m.room.create".to_owned(), String::new());
    if state.get(&create) == current.get(&create) {
        return Ok(());
    }
    Err(unlikely("a state with another create event"))
}

fn unlikely(reason: &str) -> RoomError {
    RoomError::bad_content(reason)
}

/// What changes from one state to another.
fn difference(from: &StateIds, to: &StateIds) -> Delta {
    let changed = to.iter().filter(|(key, id)| from.get(*key) != Some(*id));
    let gone = from.keys().filter(|key| !to.contains_key(*key));
    let changed = changed.map(|(key, id)| (key.clone(), Some(id.clone())));
    changed.chain(gone.map(|key| (key.clone(), None))).collect()
}
