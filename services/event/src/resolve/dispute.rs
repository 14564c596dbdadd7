//! What states do not agree on, and what has to be looked at because of that.

use super::index::{AuthIndex, EventNumber, EventSet, KeyNumber};

/// The values on which states do not agree, and what stands behind them.
#[derive(Debug)]
pub struct Dispute {
    conflicting: Vec<EventNumber>,
    candidates: Vec<EventNumber>,
}

impl Dispute {
    /// The events that are in the auth difference unless something on which all states agree has
    /// them in its auth chain.
    pub fn candidates(&self) -> &[EventNumber] {
        &self.candidates
    }
}

/// The full conflicted set ([spec]).
///
/// [spec]: https://spec.matrix.org/v1.16/rooms/v2/#definitions
#[derive(Debug)]
pub struct FullConflict {
    pub(super) events: Vec<EventNumber>,
    pub(super) set: EventSet,
}

impl AuthIndex {
    /// Compares states. Of each the values of the keys on which not all of them agree; these
    /// events are known unless there is no such event.
    pub fn dispute(&self, states: &[Vec<EventNumber>]) -> Dispute {
        let chain = |state: &Vec<EventNumber>| self.chain(state);
        let chains: Vec<EventSet> = states.iter().map(chain).collect();
        let differs = |event: &&EventNumber| {
            let chains_with_it = chains.iter().filter(|chain| chain.contains(**event));
            (1..chains.len()).contains(&chains_with_it.count())
        };
        let mut seen = EventSet::default();
        let values = states.iter().flatten().copied();
        let conflicting = values.filter(|event| self.is_known(*event) && seen.insert(*event));
        Dispute {
            conflicting: conflicting.collect(),
            candidates: self.order().iter().filter(differs).copied().collect(),
        }
    }

    /// `behind_agreed`: which of the candidates stand in the auth chain of an event on which all
    /// states agree.
    pub fn full_conflict(&self, dispute: &Dispute, behind_agreed: &EventSet) -> FullConflict {
        let mut full = FullConflict {
            events: Vec::new(),
            set: EventSet::default(),
        };
        let candidates = dispute.candidates.iter().copied();
        let difference = candidates.filter(|event| !behind_agreed.contains(*event));
        full.extend(difference);
        full.extend(dispute.conflicting.iter().copied());
        if self.version.consider_conflicted_state_subgraph {
            full.extend(self.subgraph(&dispute.conflicting));
        }
        full
    }

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

    /// The full auth chain of events, without the events themselves unless they are in it.
    fn chain(&self, of: &[EventNumber]) -> EventSet {
        let mut chain = EventSet::default();
        let mut waiting = of.to_vec();
        while let Some(event) = waiting.pop() {
            for behind in self.auth(event) {
                if chain.insert(*behind) {
                    waiting.push(*behind);
                }
            }
        }
        chain
    }

    /// The conflicted state subgraph ([MSC4297]): what stands behind a conflicting event, and has
    /// another behind itself.
    ///
    /// [MSC4297]: https://github.com/matrix-org/matrix-spec-proposals/pull/4297
    fn subgraph(&self, conflicting: &[EventNumber]) -> Vec<EventNumber> {
        let behind = self.chain(conflicting);
        let mut leads_to_one = EventSet::default();
        for event in conflicting {
            leads_to_one.insert(*event);
        }
        let mut between = Vec::new();
        // Those behind an event come before it.
        for event in self.order() {
            let mut auth = self.auth(*event).iter();
            if auth.any(|behind| leads_to_one.contains(*behind)) {
                leads_to_one.insert(*event);
                if behind.contains(*event) {
                    between.push(*event);
                }
            }
        }
        between
    }
}

impl FullConflict {
    fn extend(&mut self, events: impl IntoIterator<Item = EventNumber>) {
        for event in events {
            if self.set.insert(event) {
                self.events.push(event);
            }
        }
    }
}
