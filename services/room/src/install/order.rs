//! The order in which a state's events can be judged: each after those that it names as authorising
//! it. Ids only, and no bodies.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use xxhash_rust::xxh3::xxh3_128;

/// Events by number, with what they name; grows as they are read.
#[derive(Debug, Default)]
pub(super) struct Closure {
    numbers: HashMap<u128, u32>,
    events: Vec<Node>,
    /// What the events name, one after the other.
    named: Vec<u128>,
}

#[derive(Debug)]
struct Node {
    number: u32,
    in_state: bool,
    /// Where in `named` its own begin.
    named_from: usize,
}

/// An event in its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// Its number among what was staged.
    pub(super) number: u32,
    pub(super) in_state: bool,
}

/// The turns, and how many events have none since something behind them is missing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Turns {
    pub(super) turns: Vec<Turn>,
    pub(super) left_out: u32,
}

impl Closure {
    /// Takes an event in. One that was staged before counts once, and as state if it ever was.
    pub(super) fn add<'a>(
        &mut self,
        (number, in_state): (u32, bool),
        event_id: &str,
        named: impl Iterator<Item = &'a str>,
    ) {
        let id = xxh3_128(event_id.as_bytes());
        if let Some(at) = self.numbers.get(&id) {
            if let Some(node) = self.events.get_mut(*at as usize) {
                node.in_state |= in_state;
            }
            return;
        }
        self.numbers.insert(id, self.events.len() as u32);
        self.events.push(Node {
            number,
            in_state,
            named_from: self.named.len(),
        });
        self.named.extend(named.map(|id| xxh3_128(id.as_bytes())));
    }

    /// Every event after those that it names, and else in the order in which they were staged, so that
    /// most can be read in stretches.
    pub(super) fn turns(&self) -> Turns {
        let (mut waits_for, after) = self.edges();
        let ready = |(at, waits_for): (u32, &u32)| (*waits_for == 0).then_some(Reverse(at));
        let mut ready: BinaryHeap<Reverse<u32>> = (0..).zip(&waits_for).filter_map(ready).collect();
        let mut turns = Vec::with_capacity(self.events.len());
        while let Some(Reverse(at)) = ready.pop() {
            if let Some(node) = self.events.get(at as usize) {
                turns.push(Turn {
                    number: node.number,
                    in_state: node.in_state,
                });
            }
            for next in after.of(at) {
                if let Some(left) = waits_for.get_mut(*next as usize) {
                    *left -= 1;
                    if *left == 0 {
                        ready.push(Reverse(*next));
                    }
                }
            }
        }
        let left_out = (self.events.len() - turns.len()) as u32;
        Turns { turns, left_out }
    }

    /// How many events each waits for (those that are missing are waited for in vain), and which
    /// events wait for each.
    fn edges(&self) -> (Vec<u32>, Adjacent) {
        let mut waits_for = vec![0; self.events.len()];
        let mut pairs = Vec::with_capacity(self.named.len());
        let ends = self.events.iter().skip(1).map(|node| node.named_from);
        let ends = ends.chain([self.named.len()]);
        for (((at, node), end), waits) in (0..).zip(&self.events).zip(ends).zip(&mut waits_for) {
            for id in self.named.get(node.named_from..end).unwrap_or_default() {
                *waits += 1;
                if let Some(named) = self.numbers.get(id) {
                    pairs.push((*named, at));
                }
            }
        }
        (waits_for, Adjacent::sorted(pairs))
    }
}

/// Pairs by their first.
struct Adjacent(Vec<(u32, u32)>);

impl Adjacent {
    fn sorted(mut pairs: Vec<(u32, u32)>) -> Self {
        pairs.sort_unstable();
        Self(pairs)
    }

    fn of_first(&self, first: u32) -> &[(u32, u32)] {
        let from = self.0.partition_point(|pair| pair.0 < first);
        let to = self.0.partition_point(|pair| pair.0 <= first);
        self.0.get(from..to).unwrap_or_default()
    }

    fn of(&self, first: u32) -> impl Iterator<Item = &u32> {
        self.of_first(first).iter().map(|(_, second)| second)
    }
}

#[cfg(test)]
mod tests;
