//! Several states brought together: where they differ, and what becomes of that.

use hanse_event::resolve::{EventNumber, KeyNumber};
use hanse_log::Position;
use ruma::OwnedEventId;

use super::{Graph, View, forks::Forks, window};
use crate::{
    RoomError,
    read::{Delta, StateKey},
};

/// A key of the current state that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: StateKey,
    pub(crate) value: Option<OwnedEventId>,
    pub(crate) previous: Option<OwnedEventId>,
}

/// States side by side, and what they were brought together to. What is not listed is the same in
/// all of them, and stays so.
pub(super) struct Comparison {
    pub(super) keys: Vec<KeyNumber>,
    /// The events that hold these keys, state by state.
    pub(super) held: Vec<Vec<Option<EventNumber>>>,
    pub(super) merged: Vec<Option<EventNumber>>,
    /// How many of the states have a say: the first ones.
    pub(super) states: usize,
    /// Which of the keys conflict.
    pub(super) conflicts: Vec<usize>,
    /// Keys that are not listed, since no state has a value, and get one.
    pub(super) found: Vec<(KeyNumber, EventNumber)>,
}

impl Graph<'_> {
    /// Resolves states to one ([spec]): tells by which state it is told shortest, and what changes
    /// from that one.
    ///
    /// [spec]: https://spec.matrix.org/v1.16/rooms/v11/#state-resolution
    pub(crate) async fn closest(&self, views: &[View]) -> Result<(usize, Delta), RoomError> {
        let tell = |forks: &Forks, comparison: &Comparison| {
            let counts = (0..views.len()).map(|state| comparison.differing(state).count());
            let closest = counts.enumerate().min_by_key(|(_, count)| *count);
            let closest = closest.map_or(0, |(state, _)| state);
            let changes = comparison.changes_from(forks, closest);
            let changes = changes.map(|change| (change.key, change.value)).collect();
            (closest, changes)
        };
        self.compared(views, None, tell).await
    }

    /// Resolves states to one: tells what changes from another one, which has no say in it.
    pub(crate) async fn changes(
        &self,
        views: &[View],
        from: &View,
    ) -> Result<Vec<Change>, RoomError> {
        let tell = |forks: &Forks, comparison: &Comparison| {
            comparison.changes_from(forks, views.len()).collect()
        };
        self.compared(views, Some(from), tell).await
    }

    async fn compared<T>(
        &self,
        views: &[View],
        beside: Option<&View>,
        tell: impl Fn(&Forks, &Comparison) -> T,
    ) -> Result<T, RoomError> {
        let all: Vec<&View> = views.iter().chain(beside).collect();
        let room = self.forks.room(self.room_id, self.rules)?;
        let mut forks = room.forks.lock().await;
        if forks.index.len() > super::EVENTS_MAX / 2 {
            // Of all the forks that there were; these may need few of them.
            *forks = Forks::new(self.rules)?;
        }
        let comparison = self.compare(&mut forks, &all, views.len()).await?;
        let told = tell(&forks, &comparison);
        let weight = forks.weight();
        drop(forks);
        self.forks.keep(self.room_id, room, weight);
        Ok(told)
    }

    async fn compare(
        &self,
        forks: &mut Forks,
        all: &[&View],
        states: usize,
    ) -> Result<Comparison, RoomError> {
        self.widen(forks, all).await?;
        for key in all.iter().flat_map(|view| view.delta.keys()) {
            let key = forks.index.key(&key.0, &key.1);
            self.list(forks, key).await?;
        }
        let held: Vec<_> = all.iter().map(|view| forks.laid_out(view)).collect();
        let merged = held.first().cloned().unwrap_or_default();
        let with_a_say = held.get(..states).unwrap_or_default();
        let conflict = |(at, first): (usize, &Option<EventNumber>)| {
            let differs = with_a_say.iter().any(|held| held.get(at) != Some(first));
            differs.then_some(at)
        };
        let conflicts: Vec<usize> = merged.iter().enumerate().filter_map(conflict).collect();
        let mut comparison = Comparison {
            keys: forks.window.keys().to_vec(),
            held,
            merged,
            states,
            conflicts,
            found: Vec::new(),
        };
        if !comparison.conflicts.is_empty() {
            self.resolve(forks, &mut comparison).await?;
        }
        Ok(comparison)
    }

    /// Has the linear history between the lowest and the highest base in the window.
    async fn widen(&self, forks: &mut Forks, views: &[&View]) -> Result<(), RoomError> {
        let bases = || views.iter().map(|view| view.base);
        let start = bases().min().unwrap_or(Position::START);
        let end = bases().max().unwrap_or(Position::START);
        if !forks.window.serves(start) {
            forks.begin_window(start);
        }
        let known_to = forks.window.to();
        if known_to >= end {
            return Ok(());
        }
        let changes = self
            .reader
            .state_changes(self.room_id, known_to, end)
            .await?;
        let index = &mut forks.index;
        let change = |change: crate::StateChangeAt| window::Change {
            position: change.position,
            key: index.key(&change.event_type, &change.state_key),
            value: change.event_id.map(|id| index.number(&id)),
            previous: change.previous_event_id.map(|id| index.number(&id)),
        };
        let changes = changes.into_iter().map(change).collect();
        forks.window.extend(changes, end);
        Ok(())
    }

    /// Has a key in the window, though it may not change there.
    pub(super) async fn list(&self, forks: &mut Forks, key: KeyNumber) -> Result<(), RoomError> {
        if forks.window.place(key).is_some() {
            return Ok(());
        }
        let (event_type, state_key) = forks.index.name(key);
        let name = (event_type.to_owned(), state_key.to_owned());
        let end = View::linear(forks.window.to());
        let value = self.value(&end, &name).await?;
        let value = value.map(|id| forks.index.number(&id));
        forks.window.list(key, value);
        Ok(())
    }
}

impl Comparison {
    /// Where a state differs from what the states were brought together to.
    fn differing(&self, state: usize) -> impl Iterator<Item = usize> {
        let held = self.held.get(state).map_or(&[][..], Vec::as_slice);
        let pairs = held.iter().zip(&self.merged).enumerate();
        let differs = |(at, (held, merged)): (usize, (&_, &_))| (held != merged).then_some(at);
        pairs.filter_map(differs)
    }

    fn changes_from(&self, forks: &Forks, state: usize) -> impl Iterator<Item = Change> {
        let listed = self.differing(state).map(move |at| Change {
            key: self
                .keys
                .get(at)
                .map(|key| named(forks, *key))
                .unwrap_or_default(),
            value: id(forks, self.merged.get(at)),
            previous: id(forks, self.held.get(state).and_then(|held| held.get(at))),
        });
        let found = self.found.iter().map(|(key, event)| Change {
            key: named(forks, *key),
            value: id(forks, Some(&Some(*event))),
            previous: None,
        });
        listed.chain(found)
    }
}

fn named(forks: &Forks, key: KeyNumber) -> StateKey {
    let (event_type, state_key) = forks.index.name(key);
    (event_type.to_owned(), state_key.to_owned())
}

fn id(forks: &Forks, event: Option<&Option<EventNumber>>) -> Option<OwnedEventId> {
    forks.index.id((*event?)?).cloned()
}
