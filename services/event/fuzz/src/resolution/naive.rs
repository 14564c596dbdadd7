//! State resolution by hand: the text of room versions 2 and 12, definition by definition, without a
//! thought for speed. The auth rules alone are the tested ones, which have a target of their own.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use hanse_event::{Pdu, auth_types_of, check_auth, power};
use ruma::{
    EventId, OwnedEventId,
    events::{StateEventType, room::power_levels::UserPowerLevel},
};

use super::{State, graph::Graph};

type Ids = BTreeSet<OwnedEventId>;

/// What the states are resolved to.
pub(super) fn resolve(graph: &Graph, states: &[State]) -> State {
    let of = |key| states.iter().map(move |state| state.get(key));
    let (mut unconflicted, mut conflicted) = (State::new(), Ids::new());
    for key in states.iter().flat_map(State::keys) {
        let values: HashSet<Option<&OwnedEventId>> = of(key).collect();
        match values.iter().next() {
            Some(Some(value)) if values.len() == 1 => {
                unconflicted.insert(key.clone(), (*value).clone());
            }
            _ => conflicted.extend(values.into_iter().flatten().cloned()),
        }
    }
    if conflicted.is_empty() {
        return unconflicted;
    }
    let full = full_conflicted_set(graph, states, &conflicted);
    let (powers, others) = power_events(graph, &full);
    let begin = if graph.is_second_version() {
        State::new()
    } else {
        unconflicted.clone()
    };
    let partial = checked(graph, sorted_by_power(graph, &powers), begin);
    let mut resolved = checked(graph, sorted_by_mainline(graph, &others, &partial), partial);
    resolved.extend(unconflicted);
    resolved
}

/// Every event that stands behind these through `auth_events`.
pub(super) fn auth_chain<'i>(graph: &Graph, of: impl Iterator<Item = &'i OwnedEventId>) -> Ids {
    let mut chain = Ids::new();
    let mut waiting: Vec<OwnedEventId> = of.cloned().collect();
    while let Some(id) = waiting.pop() {
        for behind in authorities(graph, &id) {
            if chain.insert(behind.clone()) {
                waiting.push(behind);
            }
        }
    }
    chain
}

fn authorities(graph: &Graph, id: &EventId) -> Vec<OwnedEventId> {
    graph
        .pdu(id)
        .map(|pdu| pdu.auth_events().to_vec())
        .unwrap_or_default()
}

/// Conflicted state, auth difference and (from version 12 on) conflicted subgraph.
fn full_conflicted_set(graph: &Graph, states: &[State], conflicted: &Ids) -> Ids {
    let chains: Vec<Ids> = states
        .iter()
        .map(|state| auth_chain(graph, state.values()))
        .collect();
    let everywhere = |id: &OwnedEventId| chains.iter().all(|chain| chain.contains(id));
    let mut full: Ids = chains
        .iter()
        .flatten()
        .filter(|id| !everywhere(id))
        .cloned()
        .collect();
    full.extend(conflicted.iter().cloned());
    if graph.is_second_version() {
        for id in auth_chain(graph, conflicted.iter()) {
            let behind = auth_chain(graph, std::iter::once(&id));
            if !behind.is_disjoint(conflicted) {
                full.insert(id);
            }
        }
    }
    full
}

/// The power events with those of the set that authorise them, and the rest.
fn power_events(graph: &Graph, full: &Ids) -> (Ids, Ids) {
    let mut powers = Ids::new();
    let mut waiting: Vec<OwnedEventId> = full
        .iter()
        .filter(|id| is_power(graph, id))
        .cloned()
        .collect();
    while let Some(id) = waiting.pop() {
        // The chain is followed within the set, as every implementation does.
        waiting.extend(
            authorities(graph, &id)
                .into_iter()
                .filter(|id| full.contains(id)),
        );
        powers.insert(id);
    }
    let others = full.difference(&powers).cloned().collect();
    (powers, others)
}

fn is_power(graph: &Graph, id: &EventId) -> bool {
    let pdu = event(graph, id);
    match (pdu.type_name(), pdu.state_key()) {
        ("m.room.power_levels" | "m.room.join_rules" | "m.room.create", Some("")) => true,
        ("m.room.member", Some(target)) if target != pdu.sender() => {
            let membership = pdu.membership().map(|membership| membership.to_string());
            matches!(membership.as_deref(), Some("leave" | "ban"))
        }
        _ => false,
    }
}

/// The reverse topological power ordering: of what has nothing left behind it, the least comes next.
fn sorted_by_power(graph: &Graph, of: &Ids) -> Vec<OwnedEventId> {
    let mut left = of.clone();
    let mut sorted = Vec::new();
    let rank = |id: &OwnedEventId| {
        let pdu = event(graph, id);
        (
            std::cmp::Reverse(power_of_sender(graph, &pdu)),
            pdu.origin_server_ts(),
            id.clone(),
        )
    };
    while !left.is_empty() {
        let is_free =
            |id: &&OwnedEventId| !authorities(graph, id).iter().any(|id| left.contains(id));
        let next = left.iter().filter(is_free).min_by_key(|id| rank(id));
        let next = next.expect("auth events make no circle").clone();
        left.remove(&next);
        sorted.push(next);
    }
    sorted
}

/// By the power levels among the event's own authorities.
fn power_of_sender(graph: &Graph, pdu: &Pdu) -> UserPowerLevel {
    let levels = levels_behind(graph, pdu);
    let create = &graph.events.first().expect("a graph begins").pdu;
    let levels = power::power_levels(create, levels.as_ref(), graph.rules);
    levels.expect("a creator").for_user(pdu.sender())
}

fn levels_behind(graph: &Graph, pdu: &Pdu) -> Option<Pdu> {
    let mut behind = pdu.auth_events().iter().filter_map(|id| graph.pdu(id));
    behind.find(|pdu| pdu.type_name() == "m.room.power_levels" && pdu.state_key() == Some(""))
}

/// The mainline ordering, based on the power levels of a state.
fn sorted_by_mainline(graph: &Graph, of: &Ids, state: &State) -> Vec<OwnedEventId> {
    let key = (StateEventType::RoomPowerLevels, String::new());
    let mut mainline: Vec<OwnedEventId> = Vec::new();
    let mut next = state.get(&key).map(|id| event(graph, id));
    while let Some(levels) = next {
        mainline.push(levels.event_id().to_owned());
        next = levels_behind(graph, &levels);
    }
    // How far back in the mainline: none of it is farther than all of it.
    let position = |id: &OwnedEventId| {
        let mut behind = levels_behind(graph, &event(graph, id));
        while let Some(levels) = behind {
            if let Some(at) = mainline.iter().position(|id| id == levels.event_id()) {
                return at;
            }
            behind = levels_behind(graph, &levels);
        }
        usize::MAX
    };
    let rank = |id: &OwnedEventId| {
        let time = event(graph, id).origin_server_ts();
        (std::cmp::Reverse(position(id)), time, id.clone())
    };
    let mut sorted: Vec<OwnedEventId> = of.iter().cloned().collect();
    sorted.sort_by_key(rank);
    sorted
}

/// The iterative auth checks.
fn checked(graph: &Graph, events: Vec<OwnedEventId>, mut state: State) -> State {
    for id in events {
        let pdu = event(graph, &id);
        let mut authority: BTreeMap<(String, String), Pdu> = BTreeMap::new();
        let mut put = |pdu: Pdu| {
            if let Some((event_type, key)) = pdu.state_address() {
                let address = (event_type.to_string(), key.to_owned());
                authority.insert(address, pdu);
            }
        };
        if graph.is_second_version() {
            put(graph.events.first().expect("a graph begins").pdu.clone());
        }
        pdu.auth_events()
            .iter()
            .filter_map(|id| graph.pdu(id))
            .for_each(&mut put);
        let Ok(types) = auth_types_of(&pdu, graph.rules) else {
            continue;
        };
        types
            .iter()
            .filter_map(|key| graph.pdu(state.get(key)?))
            .for_each(&mut put);
        let fetch = |event_type: &StateEventType, key: &str| {
            authority
                .get(&(event_type.to_string(), key.to_owned()))
                .cloned()
        };
        if check_auth(&pdu, graph.rules, fetch).is_ok()
            && let Some((event_type, key)) = pdu.state_address()
        {
            state.insert((event_type, key.to_owned()), id);
        }
    }
    state
}

fn event(graph: &Graph, id: &EventId) -> Pdu {
    graph.pdu(id).expect("an event of the graph")
}
