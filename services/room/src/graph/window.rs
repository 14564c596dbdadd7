//! A stretch of the linear history, by numbers.

use hanse_event::resolve::{EventNumber, KeyNumber};
use hanse_log::Position;

/// Changes before which states begin that nobody asks for any more, before the window is begun anew.
const STALE_MIN: usize = 1_000;

/// The keys that change in a stretch of the linear history, and others that were asked for: the keys
/// on which states may differ.
#[derive(Debug)]
pub(super) struct Window {
    from: Position,
    to: Position,
    keys: Vec<KeyNumber>,
    histories: Vec<History>,
    /// By [`KeyNumber`], where a key stands in the two above.
    places: Vec<Option<u32>>,
    /// Where the changes are, oldest first.
    changes: Vec<Position>,
}

/// The values of a key.
#[derive(Debug)]
struct History {
    /// Before the window.
    below: Option<EventNumber>,
    /// In it, oldest first.
    changes: Vec<(Position, Option<EventNumber>)>,
}

/// A key gets another value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    pub(super) position: Position,
    pub(super) key: KeyNumber,
    pub(super) value: Option<EventNumber>,
    pub(super) previous: Option<EventNumber>,
}

impl Window {
    /// An empty one.
    pub(super) fn at(position: Position) -> Self {
        Self {
            from: position,
            to: position,
            keys: Vec::new(),
            histories: Vec::new(),
            places: Vec::new(),
            changes: Vec::new(),
        }
    }

    /// What has not changed since here is not listed.
    pub(super) fn from(&self) -> Position {
        self.from
    }

    /// Up to here it is complete.
    pub(super) fn to(&self) -> Position {
        self.to
    }

    /// Whether states from a position on can be told, without carrying along much that came before.
    pub(super) fn serves(&self, start: Position) -> bool {
        let stale = self.changes.partition_point(|change| *change <= start);
        let fresh = self.changes.len() - stale;
        (self.from..=self.to).contains(&start) && (stale < STALE_MIN || stale <= 4 * fresh)
    }

    /// The keys.
    pub(super) fn keys(&self) -> &[KeyNumber] {
        &self.keys
    }

    /// Where a key stands among the keys.
    pub(super) fn place(&self, key: KeyNumber) -> Option<usize> {
        let place = self.places.get(key.as_usize()).copied().flatten()?;
        Some(place as usize)
    }

    /// The value of a key before the window.
    pub(super) fn below(&self, key: KeyNumber) -> Option<EventNumber> {
        self.histories.get(self.place(key)?)?.below
    }

    /// Lists a key that does not change in the window.
    pub(super) fn list(&mut self, key: KeyNumber, value: Option<EventNumber>) {
        if self.place(key).is_some() {
            return;
        }
        if key.as_usize() >= self.places.len() {
            self.places.resize(key.as_usize() + 1, None);
        }
        if let Some(place) = self.places.get_mut(key.as_usize()) {
            *place = Some(self.keys.len() as u32);
        }
        self.keys.push(key);
        self.histories.push(History {
            below: value,
            changes: Vec::new(),
        });
    }

    /// Goes on to a position.
    pub(super) fn extend(&mut self, changes: Vec<Change>, to: Position) {
        for change in changes {
            self.list(change.key, change.previous);
            let place = self.place(change.key);
            if let Some(history) = place.and_then(|at| self.histories.get_mut(at)) {
                history.changes.push((change.position, change.value));
                self.changes.push(change.position);
            }
        }
        self.to = to;
    }

    /// The value of each key at a position.
    pub(super) fn values_at(&self, position: Position) -> Vec<Option<EventNumber>> {
        let value = |history: &History| {
            let mut changes = history.changes.iter().rev();
            let last = changes.find(|(at, _)| *at <= position);
            last.map_or(history.below, |(_, value)| *value)
        };
        self.histories.iter().map(value).collect()
    }

    /// Rough size in memory, bytes.
    pub(super) fn weight(&self) -> usize {
        let history = size_of::<History>() + size_of::<KeyNumber>() + 32;
        self.histories.len() * history + 32 * self.changes.len() + 8 * self.places.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hanse_event::{resolve::AuthIndex, room_version};
    use proptest::prelude::*;
    use ruma::{EventId, RoomVersionId};

    use super::*;

    fn at(position: i64) -> Position {
        Position::from_packed(position)
    }

    proptest! {
        /// Sabotage: forget the value before the window, take the change after a position instead of
        /// that before it, or have a listed key without changes lose its value.
        #[test]
        fn values_are_those_of_the_linear_history(
            changes in prop::collection::vec((0_u8..6, prop::option::of(0_u8..50)), 0..60),
            from in 0_i64..30,
            split in 0_i64..60,
        ) {
            let mut index = AuthIndex::new(room_version::rules(&RoomVersionId::V11).unwrap()).unwrap();
            let (mut history, mut state) = (vec![BTreeMap::new()], BTreeMap::new());
            let mut window = Window::at(at(from));
            let mut later = Vec::new();
            for (position, (key, value)) in (1..).zip(&changes) {
                let key = index.key("t", &key.to_string());
                let event = |number: &u8| {
                    index.number(&EventId::parse(format!("$event{number}")).unwrap())
                };
                let value = value.as_ref().map(event);
                let previous = state.insert(key, value).flatten();
                history.push(state.clone());
                let position = at(position);
                later.push(Change { position, key, value, previous });
            }
            let end = changes.len() as i64;
            let from = from.min(end);
            later.retain(|change| change.position > at(from));
            let second = later.split_off(later.partition_point(|change| change.position <= at(split)));
            window.from = at(from);
            window.extend(later, at(split.clamp(from, end)));
            window.extend(second, at(end));
            let unchanged = index.key("t", "6");
            window.list(unchanged, None);
            for position in from..=end {
                let values = window.values_at(at(position));
                for (key, value) in window.keys().iter().zip(values) {
                    let expected = history[position as usize].get(key).copied().flatten();
                    prop_assert_eq!(value, expected, "{:?} at {}", key, position);
                }
            }
        }
    }
}
