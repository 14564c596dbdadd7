//! State resolution, version 2 and 2.1.
//!
//! [`resolve`] takes whole states and is ruma's. A server that keeps states by reference never has to
//! lay one out: an [`AuthIndex`] is given only what conflicts. The algorithm looks at three things
//! beyond that: the auth chains behind the conflicting values, the state that authorises these
//! events, and, for the auth difference, whether an event stands in the auth chain of something on
//! which all states agree. The first is kept in the index, the others are asked for.
//!
//! What the index works out of an event it remembers, the verdict of the auth rules first of all:
//! on a fork nearly every event is judged by the same state again, whatever is added.

use std::collections::{HashMap, HashSet};

use ruma::{
    EventId, OwnedEventId,
    room_version_rules::RoomVersionRules,
    state_res::{self, StateMap, utils::event_id_set::EventIdSet},
};

use crate::{auth::Judged, pdu::Pdu};

mod checks;
mod dispute;
mod index;
mod ordering;

pub use self::{
    checks::{Resolved, Resolving},
    dispute::{Dispute, FullConflict, Subgraph},
    index::{Arrival, AuthIndex, EventNumber, EventSet, KeyNumber, Unread},
};

/// Why no state came out.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The room version has another algorithm (version 1).
    #[error("the room version's state resolution is not implemented")]
    Unsupported,
    /// More events than the caller allowed would have to be looked at.
    #[error("more than {max} events in the auth chains")]
    TooMany {
        /// What the caller allowed.
        max: usize,
    },
    /// An event is missing or malformed.
    #[error("state cannot be resolved")]
    Resolve(#[from] state_res::Error),
}

/// Resolves states of one room to one.
///
/// `fetch_event` knows every event of the states and of their auth chains; rejected ones are left
/// out wherever they turn up (GHSA-p9qp-c452-f9r7). At most `events_max` events are looked at
/// (GHSA-3h7q-rfh9-xm4v).
pub fn resolve(
    rules: &RoomVersionRules,
    states: &[StateMap<OwnedEventId>],
    fetch_event: impl Fn(&EventId) -> Option<Judged>,
    events_max: usize,
) -> Result<StateMap<OwnedEventId>, ResolveError> {
    let version = rules
        .state_res
        .v2_rules()
        .ok_or(ResolveError::Unsupported)?;
    let usable = |id: &EventId| match fetch_event(id) {
        Some(Judged::Usable(pdu)) => Some(pdu),
        _ => None,
    };
    let conflicted = conflicted_ids(states);
    if conflicted.is_empty() {
        return Ok(states.first().cloned().unwrap_or_default());
    }
    let graph = AuthGraph::walk(
        states.iter().flat_map(StateMap::values),
        &usable,
        events_max,
    )?;
    let chains = states
        .iter()
        .map(|state| graph.chain(state.values()))
        .collect();
    let fetch = |id: &EventId| graph.events.get(id).cloned().or_else(|| usable(id));
    let subgraph = |conflicts: &StateMap<Vec<OwnedEventId>>| {
        Some(graph.subgraph(&conflicts.values().flatten().cloned().collect()))
    };
    let auth = &rules.authorization;
    Ok(state_res::resolve(
        auth,
        version,
        states.iter(),
        chains,
        fetch,
        subgraph,
    )?)
}

/// The events on which the states do not agree.
fn conflicted_ids(states: &[StateMap<OwnedEventId>]) -> HashSet<&OwnedEventId> {
    let Some((first, others)) = states.split_first() else {
        return HashSet::new();
    };
    let differs = |key, id: &OwnedEventId| others.iter().any(|other| other.get(key) != Some(id));
    let in_first = first
        .iter()
        .filter(|(key, id)| differs(*key, id))
        .map(|(_, id)| id);
    let beside = others
        .iter()
        .flatten()
        .filter(|(key, id)| first.get(*key) != Some(*id));
    in_first.chain(beside.map(|(_, id)| id)).collect()
}

/// Events and, through their `auth_events`, all that stand behind them.
#[derive(Debug)]
struct AuthGraph {
    events: HashMap<OwnedEventId, Pdu>,
}

impl AuthGraph {
    /// Iterative, since a chain is as long as a peer likes.
    fn walk<'a>(
        from: impl Iterator<Item = &'a OwnedEventId>,
        fetch: &impl Fn(&EventId) -> Option<Pdu>,
        events_max: usize,
    ) -> Result<Self, ResolveError> {
        let mut events: HashMap<OwnedEventId, Pdu> = HashMap::new();
        let mut waiting: Vec<OwnedEventId> = from.cloned().collect();
        while let Some(id) = waiting.pop() {
            if events.contains_key(&id) {
                continue;
            }
            let Some(pdu) = fetch(&id) else { continue };
            waiting.extend(pdu.auth_events().iter().cloned());
            events.insert(id, pdu);
            if events.len() > events_max {
                return Err(ResolveError::TooMany { max: events_max });
            }
        }
        Ok(Self { events })
    }

    /// The full auth chain of these events, without the events themselves unless they are in it.
    fn chain<'a>(&self, of: impl Iterator<Item = &'a OwnedEventId>) -> EventIdSet<OwnedEventId> {
        let auth_events = |id: &OwnedEventId| self.events.get(id).map(Pdu::auth_events);
        let mut waiting: Vec<&OwnedEventId> = of.filter_map(auth_events).flatten().collect();
        let mut chain = EventIdSet::new();
        while let Some(id) = waiting.pop() {
            if let Some(behind) = auth_events(id)
                && chain.insert(id.clone())
            {
                waiting.extend(behind);
            }
        }
        chain
    }

    /// The conflicted state subgraph: all events on paths from one conflicted event to another.
    fn subgraph(&self, conflicted: &HashSet<OwnedEventId>) -> EventIdSet<OwnedEventId> {
        // Behind some conflicted event, and with some conflicted event behind: the ways back.
        let mut in_front: HashMap<&EventId, Vec<&OwnedEventId>> = HashMap::new();
        for (id, pdu) in &self.events {
            for behind in pdu.auth_events() {
                in_front.entry(behind).or_default().push(id);
            }
        }
        let behind = self.chain(conflicted.iter());
        let mut reaching: HashSet<&OwnedEventId> = conflicted.iter().collect();
        let mut waiting: Vec<&OwnedEventId> = conflicted.iter().collect();
        while let Some(id) = waiting.pop() {
            for front in in_front.get(&**id).into_iter().flatten().copied() {
                if reaching.insert(front) {
                    waiting.push(front);
                }
            }
        }
        let on_a_path = |id: &&OwnedEventId| conflicted.contains(*id) || behind.contains(id);
        reaching.into_iter().filter(on_a_path).cloned().collect()
    }
}

#[cfg(test)]
mod tests;
