//! What does not come in order: outliers, events on states that were fetched, and backfill.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use hanse_event::Received;
use hanse_room::{Fate, Fetched, HistoryPoint};
use rand::{Rng, seq::IndexedRandom};
use ruma::OwnedEventId;

use super::{Trial, check};
use crate::{Standing, State};

/// Most events between two that a server knows.
const GAP_MAX: usize = 14;
/// Most events that it gets before it asks for those in the gap.
const BEFORE_FILLED_MAX: usize = 3;
/// Gaps of one room that are compared.
const GAPS_MAX: usize = 1_000;

impl Trial<'_> {
    /// Something that will come later, now as an outlier, with its auth chain.
    pub(super) async fn hand_over_outliers(&mut self, left: &[&Received]) -> Result<()> {
        let Some(later) = left.choose(&mut self.dice).filter(|_| !self.fed.is_empty()) else {
            return Ok(());
        };
        let id = later.pdu.event_id().to_owned();
        self.keep(self.graph.with_chains([&id])).await
    }

    /// Gives events that the server does not know as outliers.
    async fn keep(&mut self, events: Vec<&Received>) -> Result<()> {
        let unknown = |event: &&Received| !self.reference.knows(event.pdu.event_id());
        let events: Vec<&Received> = events.into_iter().filter(unknown).collect();
        let handed = events.iter().map(|event| (*event).clone()).collect();
        let room_id = &self.graph.room_id;
        let arrived = self.world.rooms.receive_outliers(room_id, handed).await?;
        for (event, arrived) in events.iter().zip(&arrived) {
            let standing = self.reference.receive_outlier(&event.pdu);
            check(standing, arrived)?;
            self.count(standing);
        }
        Ok(())
    }

    /// Takes an event before what lies between it and the rest; that comes later, as new events or
    /// as backfill.
    pub(super) async fn leap(&mut self, left: &mut Vec<&Received>) -> Result<()> {
        let Some((event, between)) = self.far_one(left) else {
            return Ok(());
        };
        let standing = self.take_fetched(event).await?;
        left.retain(|other| other.pdu.event_id() != event.pdu.event_id());
        // Nothing leads to what is behind an event that is not shown.
        if standing != Standing::Accepted || self.dice.random_bool(0.4) {
            return Ok(());
        }
        let is_between = |other: &&Received| contains(&between, other);
        left.retain(|other| !is_between(other));
        for _ in 0..self.dice.random_range(0..=BEFORE_FILLED_MAX) {
            let ready = left.iter().position(|event| self.is_ready(event));
            let Some(ready) = ready else { break };
            let event = left.remove(ready);
            self.hand_over(&[event]).await?;
        }
        self.refuse_unconnected(left).await?;
        let older = self.dice.random_range(0..=between.len());
        let (older, newer) = between.split_at(older);
        self.fill(newer, true).await?;
        self.fill(older, true).await
    }

    /// The same as the last of all; what lies between comes without states.
    pub(super) async fn leap_at_last(&mut self, left: &[&Received]) -> Result<bool> {
        let Some((event, between)) = self.far_one(left) else {
            return Ok(false);
        };
        if self.take_fetched(event).await? != Standing::Accepted {
            return Ok(true);
        }
        let older = self.dice.random_range(0..=between.len());
        let (older, newer) = between.split_at(older);
        self.fill(newer, false).await?;
        self.fill(older, false).await?;
        Ok(true)
    }

    /// An event, and those before it that the server does not know, in the order of the graph.
    fn far_one<'g>(&mut self, left: &[&'g Received]) -> Option<(&'g Received, Vec<&'g Received>)> {
        if self.fed.is_empty() {
            return None;
        }
        let mut far = Vec::new();
        for event in left {
            let between = between(event, left);
            if (1..=GAP_MAX).contains(&between.len()) {
                far.push((*event, between));
            }
        }
        far.choose(&mut self.dice).cloned()
    }

    async fn take_fetched(&mut self, event: &Received) -> Result<Standing> {
        let states = self.told(event)?;
        let behind = states.iter().flat_map(State::values);
        let behind: BTreeSet<&OwnedEventId> = behind.chain(event.pdu.auth_events()).collect();
        let room_id = self.graph.room_id.clone();
        if behind.iter().any(|id| !self.reference.knows(id)) {
            let fetched = fetched(event, &states);
            let arrived = self.world.rooms.receive_fetched(&room_id, fetched).await?;
            let is_missing = matches!(&arrived.fate, Fate::Missing { .. });
            ensure!(is_missing, "{} was taken on nothing", arrived.event_id);
        }
        self.keep(self.graph.with_chains(behind)).await?;
        let fetched = fetched(event, &states);
        let arrived = self.world.rooms.receive_fetched(&room_id, fetched).await?;
        self.count_placed(event);
        let pruned = self.reference.pruned_by(&event.pdu)?;
        let standing = self.reference.receive_fetched(&event.pdu, &states)?;
        check(standing, &arrived).context("on fetched states")?;
        self.prune(standing, pruned);
        self.fed.push(event.pdu.event_id().to_owned());
        self.count(standing);
        self.counts.fetched += 1;
        self.follow_dummy().await?;
        self.compare_gaps().await?;
        Ok(standing)
    }

    /// The states after those events before this one that the server does not have.
    fn told(&self, event: &Received) -> Result<Vec<State>> {
        let before = event.pdu.prev_events().iter();
        let without = before.filter(|id| {
            let held = self.reference.held(id);
            !held.is_ok_and(|held| held.around.is_some())
        });
        without.map(|id| Ok(self.graph.told(id)?.clone())).collect()
    }

    /// Backfills, in one call.
    async fn fill(&mut self, events: &[&Received], with_states: bool) -> Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let (mut handed, mut states, mut behind) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (number, event) in events.iter().enumerate() {
            let comes = |id: &OwnedEventId| {
                let earlier = events.get(..number).unwrap_or_default();
                earlier.iter().any(|event| event.pdu.event_id() == id)
            };
            let is_whole = event
                .pdu
                .prev_events()
                .iter()
                .all(|id| comes(id) || self.reference.has_placed(id));
            let told = if with_states && !is_whole {
                self.told(event)?
            } else {
                Vec::new()
            };
            behind.extend(told.iter().flat_map(State::values).cloned());
            behind.extend(event.pdu.auth_events().iter().cloned());
            handed.push(fetched(event, &told));
            states.push(told);
        }
        self.keep(self.graph.with_chains(&behind)).await?;
        let room_id = &self.graph.room_id;
        let arrived = self.world.rooms.backfill(room_id, handed).await?;
        for ((event, states), arrived) in events.iter().zip(states).zip(&arrived) {
            self.count_placed(event);
            let pruned = self.reference.pruned_by(&event.pdu)?;
            let standing = self.reference.backfill(&event.pdu, &states)?;
            check(standing, arrived).context("backfilled")?;
            self.prune(standing, pruned);
            self.counts.backfilled += 1;
            let around = &self.reference.held(event.pdu.event_id())?.around;
            self.counts.stateless += u64::from(around.is_none());
        }
        let ids = events.iter().map(|event| event.pdu.event_id().to_owned());
        self.backfilled.push(ids.collect());
        self.compare_gaps().await
    }

    /// What nothing leads to is no history of the room.
    async fn refuse_unconnected(&mut self, left: &[&Received]) -> Result<()> {
        let missing: BTreeSet<OwnedEventId> = self
            .reference
            .gaps()
            .into_iter()
            .map(|(_, missing)| missing)
            .collect();
        let mut strangers = left.iter().filter(|event| {
            let id = event.pdu.event_id();
            !missing.contains(id) && !self.reference.has_placed(id)
        });
        let Some(stranger) = strangers.next() else {
            return Ok(());
        };
        let handed = vec![fetched(stranger, &[])];
        let room_id = &self.graph.room_id;
        let arrived = self.world.rooms.backfill(room_id, handed).await?;
        match arrived.first().map(|arrived| &arrived.fate) {
            Some(Fate::Unconnected) => Ok(()),
            other => bail!("{} was {other:?}", stranger.pdu.event_id()),
        }
    }

    fn is_ready(&self, event: &Received) -> bool {
        let pdu = &event.pdu;
        let before = pdu.prev_events().iter();
        let behind = pdu.auth_events().iter();
        before.chain(behind).all(|id| self.reference.has_placed(id))
    }

    pub(super) fn count_placed(&mut self, event: &Received) {
        let held = self.reference.held(event.pdu.event_id());
        let was_outlier = held.is_ok_and(|held| held.standing == Standing::Outlier);
        self.counts.placed += u64::from(was_outlier);
    }

    /// Where history is missing.
    pub(super) async fn compare_gaps(&self) -> Result<()> {
        let (reader, room_id) = (self.world.rooms.reader(), &self.graph.room_id);
        let (start, end) = (HistoryPoint::START, HistoryPoint::END);
        let gaps = reader.gaps(room_id, start, end, GAPS_MAX).await?;
        let gaps = gaps.into_iter().map(|gap| (gap.event_id, gap.missing));
        let gaps: BTreeSet<(OwnedEventId, OwnedEventId)> = gaps.collect();
        let expected = self.reference.gaps();
        ensure!(gaps == expected, "the gaps are {gaps:?}, not {expected:?}");
        Ok(())
    }
}

fn contains(events: &[&Received], event: &Received) -> bool {
    let id = event.pdu.event_id();
    events.iter().any(|other| other.pdu.event_id() == id)
}

fn fetched(event: &Received, states: &[State]) -> Fetched {
    let ids = |state: &State| state.values().cloned().collect();
    Fetched {
        event: event.clone(),
        states: states.iter().map(ids).collect(),
    }
}

/// What is left of an event's past, oldest first.
fn between<'g>(event: &Received, left: &[&'g Received]) -> Vec<&'g Received> {
    let mut before: BTreeSet<&OwnedEventId> = event.pdu.prev_events().iter().collect();
    let mut between = Vec::new();
    // In the order of feeding, an event comes after those before it.
    for other in left.iter().rev() {
        if before.contains(&other.pdu.event_id().to_owned()) {
            before.extend(other.pdu.prev_events());
            between.push(*other);
        }
    }
    between.reverse();
    between
}
