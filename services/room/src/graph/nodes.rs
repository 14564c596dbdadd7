//! Bounded chains of nodes.

use hanse_proto::room::{StateNode, StateValue};
use ruma::OwnedEventId;

use crate::read::{Chain, Delta};

/// Puts changes on top of a chain: the parent of the new node, and its values. A node that is less
/// than twice as large as the one above it is taken into that one: so a chain is no longer than
/// the logarithm of what it holds, and a change is written again that often at most.
pub(crate) fn extended(chain: &Chain, over: &Delta) -> (Option<OwnedEventId>, Delta) {
    let mut values = over.clone();
    let mut below = chain.nodes.as_slice();
    while let Some((top, rest)) = below.split_last() {
        if top.values.len() >= 2 * values.len() {
            break;
        }
        let mut merged = Delta::clone(&top.values);
        merged.append(&mut values);
        values = merged;
        below = rest;
    }
    (below.last().map(|node| node.id.clone()), values)
}

/// The node as its entry carries it.
pub(crate) fn record(parent: Option<&OwnedEventId>, values: &Delta) -> StateNode {
    let value =
        |((event_type, state_key), id): (&(String, String), &Option<OwnedEventId>)| StateValue {
            event_type: event_type.clone(),
            state_key: state_key.clone(),
            event_id: id.as_ref().map(ToString::to_string).unwrap_or_default(),
        };
    StateNode {
        parent: parent.map(ToString::to_string).unwrap_or_default(),
        values: values.iter().map(value).collect(),
        apart: String::new(),
    }
}

/// The chain with the new node on it.
#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hanse_log::Position;
    use proptest::prelude::*;

    use super::*;
    use crate::read::Node;

    fn id(number: usize) -> OwnedEventId {
        format!("$event{number}").try_into().unwrap()
    }

    fn change(key: u16, number: usize) -> Delta {
        let key = ("t".to_owned(), key.to_string());
        Delta::from([(key, Some(id(number)))])
    }

    /// The chain with a new node on it, and how many values were written for it.
    fn grown(chain: &Chain, id: OwnedEventId, over: &Delta) -> (Chain, usize) {
        let (parent, values) = extended(chain, over);
        let mut nodes = chain.nodes.clone();
        while nodes.last().map(|node| &node.id) != parent.as_ref() {
            nodes.pop();
        }
        let written = values.len();
        let values = Arc::new(values);
        nodes.push(Node { id, values });
        let base = chain.base;
        (Chain { base, nodes }, written)
    }

    proptest! {
        /// Sabotage: never take a node into the next one (chains grow), always do (every change
        /// writes all), or let the lower node win (values are old).
        #[test]
        fn a_chain_is_short_cheap_and_right(keys in prop::collection::vec(0_u16..2_000, 1..600)) {
            let mut chain = Chain::linear(Position::START);
            let (mut expected, mut written) = (Delta::new(), 0);
            for (number, key) in keys.iter().enumerate() {
                let over = change(*key, number);
                expected.extend(over.clone());
                let (next, values) = grown(&chain, id(number), &over);
                chain = next;
                written += values;
                prop_assert_eq!(&chain.delta(), &expected);
                prop_assert!(chain.nodes.len() <= 1 + (number + 1).ilog2() as usize);
            }
            let levels = 1 + keys.len().ilog2() as usize;
            prop_assert!(written <= keys.len() * levels, "{} for {}", written, keys.len());
        }
    }
}
