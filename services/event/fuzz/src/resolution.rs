//! State resolution, on small graphs that the input draws.

use std::collections::{BTreeSet, HashMap};

use arbitrary::Unstructured;
use hanse_event::{
    Judged,
    resolve::{Arrival, AuthIndex, Dispute, EventNumber, EventSet, KeyNumber, Unread, resolve},
};
use ruma::{EventId, OwnedEventId, events::StateEventType, state_res::StateMap};

mod graph;
mod naive;

use self::graph::Graph;

/// More events than any graph has.
const EVENTS_MAX: usize = 1_000;

/// States are resolved to what the specification's text, done by hand, makes of them; in whatever
/// order and however often they come; to values that are in them or behind them; and, where only what
/// conflicts is given, to the same.
///
/// Sabotage: leave the auth difference out, or the conflicted subgraph; take the states in their
/// order; drop what only the auth difference gives; sort by id instead of by time;
/// take the last verdict of the auth rules whatever they judged by; stop going down auth chains early.
///
/// True: there was something to resolve.
pub fn check(input: &[u8]) -> bool {
    let mut dice = Unstructured::new(input);
    let Ok(graph) = Graph::draw(&mut dice) else {
        return false;
    };
    // One for the whole graph: what it remembers of one merge must not spoil the next.
    let mut index = AuthIndex::new(graph.rules).expect("supported");
    let mut conflicted = false;
    for states in &graph.merges {
        let subject = Subject {
            graph: &graph,
            states: states.clone(),
        };
        conflicted |= subject.check(&mut index);
    }
    conflicted
}

type State = StateMap<OwnedEventId>;

struct Subject<'a> {
    graph: &'a Graph,
    states: Vec<State>,
}

impl Subject<'_> {
    /// True: the states do not agree.
    fn check(&self, index: &mut AuthIndex) -> bool {
        let resolved = self.resolved(&self.states);
        let expected = naive::resolve(self.graph, &self.states);
        assert_eq!(resolved, expected, "{}", self.told());
        self.check_orders(&resolved);
        self.check_values(&resolved);
        self.check_same();
        self.check_conflicts(index, &expected)
    }

    fn told(&self) -> String {
        let events: Vec<&str> = self
            .graph
            .events
            .iter()
            .map(|event| event.pdu.json())
            .collect();
        format!("{:#?}\n{:#?}", events, self.states)
    }

    fn resolved(&self, states: &[State]) -> State {
        let fetch = |id: &EventId| self.graph.pdu(id).map(Judged::Usable);
        let resolved = resolve(self.graph.rules, states, fetch, EVENTS_MAX);
        resolved.unwrap_or_else(|error| panic!("{error:?}: {}", self.told()))
    }

    fn check_orders(&self, resolved: &State) {
        let mut states = self.states.clone();
        states.reverse();
        assert_eq!(
            self.resolved(&states),
            *resolved,
            "reversed: {}",
            self.told()
        );
        states.rotate_left(1);
        assert_eq!(
            self.resolved(&states),
            *resolved,
            "rotated: {}",
            self.told()
        );
        states.extend(self.states.first().cloned());
        assert_eq!(
            self.resolved(&states),
            *resolved,
            "one twice: {}",
            self.told()
        );
    }

    /// A state and itself are that state; so is a single one.
    fn check_same(&self) {
        for state in &self.states {
            let (one, two) = ([state.clone()], [state.clone(), state.clone()]);
            assert_eq!(self.resolved(&one), *state, "{}", self.told());
            assert_eq!(self.resolved(&two), *state, "{}", self.told());
        }
    }

    /// What all agree on stays, and nothing comes from elsewhere.
    fn check_values(&self, resolved: &State) {
        for (key, id) in self.agreed() {
            assert_eq!(resolved.get(&key), Some(&id), "{key:?}: {}", self.told());
        }
        let values = self.states.iter().flat_map(StateMap::values);
        let mut known: BTreeSet<OwnedEventId> = naive::auth_chain(self.graph, values.clone());
        known.extend(values.cloned());
        for ((event_type, key), id) in resolved {
            assert!(
                known.contains(id),
                "{id} is from elsewhere: {}",
                self.told()
            );
            let pdu = self.graph.pdu(id).expect("an event of the graph");
            assert_eq!(
                pdu.state_address(),
                Some((event_type.clone(), key.as_str()))
            );
        }
    }

    fn agreed(&self) -> State {
        let Some((first, others)) = self.states.split_first() else {
            return State::new();
        };
        let mut agreed = first.clone();
        agreed.retain(|key, id| others.iter().all(|state| state.get(key) == Some(id)));
        agreed
    }

    /// Given nothing but what conflicts, and what is asked for. True: something does.
    fn check_conflicts(&self, index: &mut AuthIndex, expected: &State) -> bool {
        let agreed = self.agreed();
        let mut states = self.states.clone();
        for state in &mut states {
            state.retain(|key, _| !agreed.contains_key(key));
        }
        if states.iter().all(StateMap::is_empty) {
            return false;
        }
        let mut expected = expected.clone();
        expected.retain(|key, _| !agreed.contains_key(key));
        for again in ["at first", "from what is remembered", "the other way round"] {
            if again == "the other way round" {
                states.reverse();
            }
            let resolved = self.of_conflicts(index, &states, &agreed);
            assert_eq!(resolved, expected, "{again}: {}", self.told());
        }
        true
    }

    fn of_conflicts(&self, index: &mut AuthIndex, states: &[State], agreed: &State) -> State {
        let number = |state: &State| state.values().map(|id| index.number(id)).collect();
        let states: Vec<Vec<EventNumber>> = states.iter().map(number).collect();
        let mut dispute = Dispute::new(states);
        self.read(index, |index| dispute.go_on(index));
        let candidates = dispute.candidates();
        let mut behind_agreed = EventSet::default();
        for id in naive::auth_chain(self.graph, agreed.values()) {
            let event = index.number(&id);
            if candidates.contains(&event) {
                behind_agreed.insert(event);
            }
        }
        let mut full = dispute.full_conflict(index, &behind_agreed);
        let mut subgraph = dispute.subgraph(index);
        self.read(index, |index| subgraph.go_on(index));
        full.extend(subgraph.events(index));
        self.read(index, |index| {
            index.unread_behind(full.events().iter().copied())
        });
        let keys = index.keys_of(&full);
        let always = ["m.room.create", "m.room.power_levels"].map(|key| index.key(key, ""));
        let all = keys.iter().copied().chain(always);
        let values: HashMap<KeyNumber, OwnedEventId> = all
            .filter_map(|key| Some((key, agreed.get(&named(index, key))?.clone())))
            .collect();
        let values: HashMap<KeyNumber, EventNumber> = values
            .into_iter()
            .map(|(key, id)| (key, index.number(&id)))
            .collect();
        self.read(index, |index| Unread::of(index, values.values().copied()));
        let resolving = index.resolve(&full, |key| values.get(&key).copied());
        let mut resolving = resolving.expect("resolvable");
        self.read(index, |index| resolving.go_on(index));
        let resolved = resolving.finish(index);
        let open = keys.into_iter().filter(|key| !values.contains_key(key));
        let value = |key| Some((named(index, key), index.id(resolved.get(key)?)?.clone()));
        open.filter_map(value).collect()
    }

    /// Reads what is asked for, and nothing else, until nothing is.
    fn read(&self, index: &mut AuthIndex, mut go_on: impl FnMut(&AuthIndex) -> Unread) {
        loop {
            let unread = go_on(index);
            if unread.is_empty() {
                return;
            }
            for event in unread.events() {
                let id = index.id(*event).expect("mentioned").clone();
                match self.graph.placed(&id) {
                    Some((arrived, pdu)) => index.add(pdu, Arrival(arrived)),
                    None => index.add_absent(*event),
                }
            }
        }
    }
}

fn named(index: &AuthIndex, key: KeyNumber) -> (StateEventType, String) {
    let (event_type, state_key) = index.name(key);
    (event_type.into(), state_key.to_owned())
}
