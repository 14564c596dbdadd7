//! What states do not agree on, and what has to be looked at because of that.

use std::collections::BTreeSet;

use super::index::{Arrival, AuthIndex, EventNumber, EventSet, KeyNumber, Unread};

/// The values on which states do not agree, and how far what stands behind them differs.
///
/// The auth chains of the states are gone down together, the latest event first. Each event is met
/// after all that stand in front of it; so it is known by then in which chains it is, and when
/// everything that was met and not followed is in all of them, all that is further down is, too.
#[derive(Debug)]
pub struct Dispute {
    /// State by state.
    values: Vec<Vec<EventNumber>>,
    begun: bool,
    /// The auth chain of each state, as far as it was followed.
    chains: Vec<EventSet>,
    /// Met, and not followed.
    open: BTreeSet<(Arrival, EventNumber)>,
    /// Of these, what is not in all chains.
    partial: BTreeSet<(Arrival, EventNumber)>,
    followed: Vec<EventNumber>,
}

impl Dispute {
    /// Compares states: of each the values of the keys on which not all of them agree.
    pub fn new(states: Vec<Vec<EventNumber>>) -> Self {
        Self {
            chains: vec![EventSet::default(); states.len()],
            values: states,
            begun: false,
            open: BTreeSet::new(),
            partial: BTreeSet::new(),
            followed: Vec::new(),
        }
    }

    /// Goes on. Nothing left unread: it has come to its end.
    pub fn go_on(&mut self, index: &AuthIndex) -> Unread {
        if !self.begun {
            let values = || self.values.iter().flatten().copied();
            let unread = Unread::of(index, values());
            if !unread.is_empty() {
                return unread;
            }
            let unread = index.unread_behind(values());
            if !unread.is_empty() {
                return unread;
            }
            self.begin(index);
        }
        while let Some(lowest) = self.partial.first().copied() {
            let Some(last) = self.open.last().copied() else {
                break;
            };
            if index.auth(last.1).any(|behind| !index.is_read(behind)) {
                // All of these will be followed.
                let open = self.open.range(lowest..);
                return index.unread_behind(open.map(|(_, event)| *event));
            }
            self.open.remove(&last);
            self.partial.remove(&last);
            self.followed.push(last.1);
            for state in 0..self.chains.len() {
                if self.has(state, last.1) {
                    self.follow(index, state, last.1);
                }
            }
        }
        Unread::default()
    }

    fn begin(&mut self, index: &AuthIndex) {
        self.begun = true;
        let values = std::mem::take(&mut self.values);
        for (state, values) in values.iter().enumerate() {
            for value in values {
                self.follow(index, state, *value);
            }
        }
        self.values = values;
    }

    /// What authorises an event of a state's chain is in that chain.
    fn follow(&mut self, index: &AuthIndex, state: usize, event: EventNumber) {
        for behind in index.auth(event) {
            let chain = self.chains.get_mut(state);
            if !chain.is_some_and(|chain| chain.insert(behind)) {
                continue;
            }
            let Some(arrived) = index.arrived(behind) else {
                continue;
            };
            self.open.insert((arrived, behind));
            if self.differs(behind) {
                self.partial.insert((arrived, behind));
            } else {
                self.partial.remove(&(arrived, behind));
            }
        }
    }

    fn has(&self, state: usize, event: EventNumber) -> bool {
        let chain = self.chains.get(state);
        chain.is_some_and(|chain| chain.contains(event))
    }

    /// Whether it is in some of the chains and not in all.
    fn differs(&self, event: EventNumber) -> bool {
        let with_it = self.chains.iter().filter(|chain| chain.contains(event));
        (1..self.chains.len()).contains(&with_it.count())
    }

    /// The events that are in the auth difference unless something on which all states agree has
    /// them in its auth chain.
    pub fn candidates(&self) -> Vec<EventNumber> {
        let followed = self.followed.iter().copied();
        followed.filter(|event| self.differs(*event)).collect()
    }

    fn conflicting<'a>(&'a self, index: &'a AuthIndex) -> impl Iterator<Item = EventNumber> + 'a {
        let values = self.values.iter().flatten().copied();
        values.filter(|event| index.is_known(*event))
    }

    /// The full conflicted set. `behind_agreed`: which of the candidates stand in the auth chain of an
    /// event on which all states agree.
    pub fn full_conflict(&self, index: &AuthIndex, behind_agreed: &EventSet) -> FullConflict {
        let mut full = FullConflict::default();
        let candidates = self.candidates().into_iter();
        full.extend(candidates.filter(|event| !behind_agreed.contains(*event)));
        full.extend(self.conflicting(index));
        full
    }

    /// What lies between the conflicting events, where the room version wants it.
    pub fn subgraph(&self, index: &AuthIndex) -> Subgraph {
        let wanted = index.version.consider_conflicted_state_subgraph;
        Subgraph::new(index, self.conflicting(index).filter(|_| wanted))
    }
}

/// The conflicted state subgraph ([MSC4297]): what stands behind a conflicting event, and has
/// another behind itself.
///
/// [MSC4297]: https://github.com/matrix-org/matrix-spec-proposals/pull/4297
#[derive(Debug)]
pub struct Subgraph {
    conflicting: EventSet,
    /// When the first of the conflicting events arrived that others may stand on, if any may.
    lowest: Option<Arrival>,
    behind: EventSet,
    waiting: Vec<EventNumber>,
    followed: BTreeSet<(Arrival, EventNumber)>,
}

impl Subgraph {
    fn new(index: &AuthIndex, events: impl Iterator<Item = EventNumber>) -> Self {
        let mut conflicting = EventSet::default();
        let waiting: Vec<_> = events.filter(|event| conflicting.insert(*event)).collect();
        let authorities = waiting.iter().filter(|event| index.may_authorise(**event));
        let lowest = authorities.filter_map(|event| index.arrived(*event)).min();
        Self {
            conflicting,
            lowest,
            behind: EventSet::default(),
            waiting,
            followed: BTreeSet::new(),
        }
    }

    /// Goes on. Nothing left unread: it has come to its end.
    pub fn go_on(&mut self, index: &AuthIndex) -> Unread {
        while let Some(event) = self.waiting.last().copied() {
            let Some(arrived) = self.may_lead(index, event) else {
                self.waiting.pop();
                continue;
            };
            if index.auth(event).any(|behind| !index.is_read(behind)) {
                let waiting = self.waiting.iter().copied();
                let may_lead = waiting.filter(|event| self.may_lead(index, *event).is_some());
                return index.unread_behind(may_lead);
            }
            self.waiting.pop();
            self.followed.insert((arrived, event));
            for behind in index.auth(event) {
                if self.behind.insert(behind) && !self.conflicting.contains(behind) {
                    self.waiting.push(behind);
                }
            }
        }
        Unread::default()
    }

    /// When an event arrived that may have a conflicting one behind itself.
    fn may_lead(&self, index: &AuthIndex, event: EventNumber) -> Option<Arrival> {
        let (arrived, lowest) = (index.arrived(event)?, self.lowest?);
        (arrived > lowest).then_some(arrived)
    }

    /// The events, when it has come to its end.
    pub fn events(&self, index: &AuthIndex) -> Vec<EventNumber> {
        let mut leads_to_one = self.conflicting.clone();
        let mut between = Vec::new();
        // Those behind an event arrived before it.
        for (_, event) in &self.followed {
            let leads = index
                .auth(*event)
                .any(|behind| leads_to_one.contains(behind));
            if leads {
                leads_to_one.insert(*event);
                if self.behind.contains(*event) {
                    between.push(*event);
                }
            }
        }
        between
    }
}

/// The full conflicted set ([spec]).
///
/// [spec]: https://spec.matrix.org/v1.16/rooms/v2/#definitions
#[derive(Debug, Default)]
pub struct FullConflict {
    pub(super) events: Vec<EventNumber>,
    pub(super) set: EventSet,
}

impl FullConflict {
    /// Adds events.
    pub fn extend(&mut self, events: impl IntoIterator<Item = EventNumber>) {
        for event in events {
            if self.set.insert(event) {
                self.events.push(event);
            }
        }
    }

    /// The events.
    pub fn events(&self) -> &[EventNumber] {
        &self.events
    }
}

impl AuthIndex {
    /// The keys of these events, and all keys whose values authorise one of them.
    pub fn keys_of(&self, full: &FullConflict) -> Vec<KeyNumber> {
        let mut seen = vec![false; self.names()];
        let mut keys = Vec::new();
        for facts in full.events.iter().filter_map(|event| self.facts(*event)) {
            let reads = facts.reads.iter().flatten();
            for key in reads.chain([&facts.key]) {
                if let Some(seen) = seen.get_mut(key.as_usize())
                    && !std::mem::replace(seen, true)
                {
                    keys.push(*key);
                }
            }
        }
        keys
    }
}
