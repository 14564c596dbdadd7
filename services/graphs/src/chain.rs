//! Auth chains, straight from their definitions.

use std::collections::BTreeSet;

use hanse_event::Pdu;
use ruma::{EventId, OwnedEventId, state_res::StateMap};

/// Every event that stands behind these through `auth_events`.
pub(crate) fn auth_chain(
    of: Vec<OwnedEventId>,
    fetch: impl Fn(&EventId) -> Option<Pdu>,
) -> BTreeSet<OwnedEventId> {
    let mut chain = BTreeSet::new();
    let mut waiting = of;
    while let Some(id) = waiting.pop() {
        for behind in fetch(&id).iter().flat_map(Pdu::auth_events) {
            if chain.insert(behind.clone()) {
                waiting.push(behind.clone());
            }
        }
    }
    chain
}

/// The conflicted state subgraph ([MSC4297]): the conflicting events, and every event that stands
/// behind one of them and has another behind itself.
///
/// [MSC4297]: https://github.com/matrix-org/matrix-spec-proposals/pull/4297
pub(crate) fn subgraph(
    conflicts: &StateMap<Vec<OwnedEventId>>,
    fetch: impl Fn(&EventId) -> Option<Pdu> + Copy,
) -> BTreeSet<OwnedEventId> {
    let conflicting: BTreeSet<OwnedEventId> = conflicts.values().flatten().cloned().collect();
    let behind = auth_chain(conflicting.iter().cloned().collect(), fetch);
    let leads_to_one = |id: &OwnedEventId| {
        let chain = auth_chain(vec![id.clone()], fetch);
        conflicting.iter().any(|other| chain.contains(other))
    };
    let between = behind.into_iter().filter(leads_to_one);
    let between: Vec<OwnedEventId> = between.collect();
    conflicting.into_iter().chain(between).collect()
}
