//! State resolution of what conflicts, fed from the archives.

use std::{collections::HashSet, iter::zip};

use futures::{StreamExt, TryStreamExt, stream};
use hanse_event::resolve::{Arrival, AuthIndex, Dispute, EventNumber, EventSet, KeyNumber, Unread};
use hanse_log::Position;
use ruma::OwnedEventId;

use super::{EVENTS_MAX, Graph, forks::Forks, merge::Comparison, too_many, unresolvable};
use crate::{RoomError, StateAt, tables::MEMBER_SHARDS};

/// Events that are read at the same time.
const READS_AT_ONCE: usize = 64;
const POWER_LEVELS: (&str, &str) = ("m.room.power_levels", "");
/// So many power levels are read as they are asked for, before others are read ahead.
const LEVELS_AHEAD_FROM: usize = 4;

impl Graph<'_> {
    /// Puts in what becomes of the conflicting keys, and of those that no state has and the auth
    /// difference gives.
    pub(super) async fn resolve(
        &self,
        forks: &mut Forks,
        comparison: &mut Comparison,
    ) -> Result<(), RoomError> {
        let mut dispute = Dispute::new(comparison.conflicting_values());
        self.until_its_end(forks, |index| dispute.go_on(index))
            .await?;
        let behind_agreed = self.behind_agreed(forks, comparison, &dispute).await?;
        let mut full = dispute.full_conflict(&forks.index, &behind_agreed);
        let mut subgraph = dispute.subgraph(&forks.index);
        self.until_its_end(forks, |index| subgraph.go_on(index))
            .await?;
        full.extend(subgraph.events(&forks.index));
        let authorities = forks.index.unread_behind(full.events().iter().copied());
        self.read(forks, &authorities).await?;

        let touched = forks.index.keys_of(&full);
        let always = [
            forks.index.key("m.room.create", ""),
            forks.index.key("m.room.power_levels", ""),
        ];
        for key in touched.iter().chain(&always) {
            self.list(forks, *key).await?;
        }
        let agreed = comparison.agreed_values(forks);
        let value = |key: KeyNumber| agreed.get(key.as_usize()).copied().flatten();
        let values = touched.iter().chain(&always).filter_map(|key| value(*key));
        let values = Unread::of(&forks.index, values);
        self.read(forks, &values).await?;

        let resolving = forks.index.resolve(&full, value);
        let mut resolving = resolving.map_err(unresolvable)?;
        self.until_its_end(forks, |index| resolving.go_on(index))
            .await?;
        let resolved = resolving.finish(&mut forks.index);
        for at in &comparison.conflicts {
            let won = comparison.keys.get(*at).and_then(|key| resolved.get(*key));
            if let Some(merged) = comparison.merged.get_mut(*at) {
                *merged = won;
            }
        }
        for key in touched {
            let Some(won) = resolved.get(key).filter(|_| value(key).is_none()) else {
                continue;
            };
            let place = forks.window.place(key);
            match place.and_then(|at| comparison.merged.get_mut(at)) {
                Some(merged) => *merged = Some(won),
                None => comparison.found.push((key, won)),
            }
        }
        Ok(())
    }

    /// Reads what somebody asks for, until nothing is left to ask for.
    async fn until_its_end(
        &self,
        forks: &mut Forks,
        mut go_on: impl FnMut(&AuthIndex) -> Unread,
    ) -> Result<(), RoomError> {
        loop {
            let unread = go_on(&forks.index);
            if unread.is_empty() {
                return Ok(());
            }
            self.read(forks, &unread).await?;
        }
    }

    /// Has events in the index. What is about to be taken in has not arrived: it counts as if it had
    /// come right behind what authorises it. That is never later than it will be, so that what is
    /// remembered of it stays true.
    async fn read(&self, forks: &mut Forks, unread: &Unread) -> Result<(), RoomError> {
        let coming = self
            .coming
            .map(|pdu| (pdu, forks.index.number(pdu.event_id())))
            .filter(|(_, event)| unread.events().contains(event));
        if let Some((pdu, _)) = coming {
            let auth = pdu.auth_events().iter().map(|id| forks.index.number(id));
            let auth: Vec<EventNumber> = auth.collect();
            self.fetch(forks, &Unread::of(&forks.index, auth.iter().copied()))
                .await?;
            let latest = auth.iter().filter_map(|event| forks.index.arrived(*event));
            let arrived = latest.max().map_or(Arrival(0), Arrival::next);
            forks.index.add(pdu.clone(), arrived);
        }
        self.fetch(forks, unread).await
    }

    async fn fetch(&self, forks: &mut Forks, unread: &Unread) -> Result<(), RoomError> {
        if forks.index.len() + unread.events().len() > EVENTS_MAX {
            return Err(too_many());
        }
        let ids = unread.events().iter();
        let ids = ids.filter(|event| !forks.index.is_read(**event));
        let ids = ids.filter_map(|event| Some((*event, forks.index.id(*event)?.clone())));
        let ids: Vec<_> = ids.collect();
        let graph = *self;
        let reads = ids.into_iter().map(|(event, id)| async move {
            Ok::<_, RoomError>((event, graph.arrived(&id).await?))
        });
        let reads = stream::iter(reads).buffer_unordered(READS_AT_ONCE);
        let found: Vec<_> = reads.try_collect().await?;
        let mut lowest_levels = None;
        for (event, usable) in found {
            let Some((pdu, position)) = usable else {
                forks.index.add_absent(event);
                continue;
            };
            if pdu.type_name() == POWER_LEVELS.0 {
                forks.levels_read += 1;
                lowest_levels = Some(lowest_levels.unwrap_or(position).min(position));
            }
            forks.index.add(pdu, arrival(position));
        }
        match lowest_levels {
            Some(lowest) if forks.levels_read >= LEVELS_AHEAD_FROM => {
                self.read_ahead(forks, lowest).await
            }
            _ => Ok(()),
        }
    }

    /// Power levels stand one behind the other, and behind nearly everything else. Who asks for one
    /// after the other gets the next ones read at the same time: as many as were asked for so far.
    async fn read_ahead(&self, forks: &mut Forks, before: Position) -> Result<(), RoomError> {
        if forks.levels.is_none() {
            let versions = self
                .reader
                .state_versions(self.room_id, POWER_LEVELS.0, POWER_LEVELS.1, before)
                .await?;
            let ids = versions
                .into_iter()
                .filter_map(|(position, value)| Some((position, value?.event_id)));
            forks.levels = Some(ids.collect());
        }
        let levels = forks.levels.as_deref().unwrap_or_default();
        let until = levels.partition_point(|(position, _)| *position < before);
        let from = until.saturating_sub(forks.levels_read.min(READS_AT_ONCE));
        let next = levels.get(from..until).unwrap_or_default();
        let is_read = |(_, id): &(Position, OwnedEventId)| self.bodies.contains_key(id);
        if next.last().is_none_or(is_read) {
            return Ok(());
        }
        let reads = next.iter().map(|(_, id)| self.arrived(id));
        let reads = stream::iter(reads.collect::<Vec<_>>()).buffer_unordered(READS_AT_ONCE);
        reads.try_for_each(async |_| Ok(())).await
    }

    /// Which of the candidates stand behind something on which all states agree.
    async fn behind_agreed(
        &self,
        forks: &mut Forks,
        comparison: &Comparison,
        dispute: &Dispute,
    ) -> Result<EventSet, RoomError> {
        let mut search = Search::new(&forks.index, &dispute.candidates());
        for some in comparison.agreed().chunks(READS_AT_ONCE) {
            if search.wanted.is_empty() {
                return Ok(search.found);
            }
            self.read_with_auth(forks, some).await?;
            for event in some {
                self.follow(forks, &mut search, *event).await?;
            }
        }
        let listed_from = arrival(forks.window.from());
        for event in search.wanted.clone() {
            let cited_by = forks.cited.get(&event);
            if cited_by.is_some_and(|key| forks.window.place(*key).is_none()) {
                search.find(event);
            } else if forks.uncited.contains(event)
                || forks.index.arrived(event) > Some(listed_from)
            {
                // What is not listed has not changed since, and cites nothing that came later.
                search.wanted.remove(&event);
            }
        }
        if !search.wanted.is_empty() {
            self.search_unlisted(forks, &mut search).await?;
        }
        Ok(search.found)
    }

    /// The values that are the same in all states since they did not change: walked only until all
    /// are found, and only over what can stand in front of them, an event arriving after those that
    /// authorise it. What was found is remembered.
    async fn search_unlisted(
        &self,
        forks: &mut Forks,
        search: &mut Search,
    ) -> Result<(), RoomError> {
        search.narrow(&forks.index);
        for shard in 0..=MEMBER_SHARDS {
            if search.wanted.is_empty() {
                return Ok(());
            }
            let values = self.reader.shard(self.room_id, shard, forks.window.to());
            let unlisted = |value: StateAt| {
                let key = forks.index.key(&value.event_type, &value.state_key);
                let is_later = Some(arrival(value.position)) > search.oldest;
                let unlisted = is_later && forks.window.place(key).is_none();
                unlisted.then(|| (forks.index.number(&value.event_id), key))
            };
            let (events, keys): (Vec<_>, Vec<_>) =
                values.await?.into_iter().filter_map(unlisted).unzip();
            for (some, keys) in zip(events.chunks(READS_AT_ONCE), keys.chunks(READS_AT_ONCE)) {
                self.read_with_auth(forks, some).await?;
                for (event, key) in zip(some, keys) {
                    for found in self.follow(forks, search, *event).await? {
                        forks.cited.insert(found, *key);
                    }
                }
                if search.wanted.is_empty() {
                    return Ok(());
                }
            }
        }
        for event in &search.wanted {
            forks.uncited.insert(*event);
        }
        Ok(())
    }

    /// Reads events that are about to be followed, and what authorises them: one after the other each
    /// would wait for the store twice.
    async fn read_with_auth(
        &self,
        forks: &mut Forks,
        events: &[EventNumber],
    ) -> Result<(), RoomError> {
        let unread = Unread::of(&forks.index, events.iter().copied());
        self.read(forks, &unread).await?;
        let behind = forks.index.unread_behind(events.iter().copied());
        self.read(forks, &behind).await
    }

    /// Follows the auth chain of an event; gives what was found there for the first time.
    async fn follow(
        &self,
        forks: &mut Forks,
        search: &mut Search,
        from: EventNumber,
    ) -> Result<Vec<EventNumber>, RoomError> {
        let (mut found, mut waiting) = (Vec::new(), vec![from]);
        self.until_its_end(forks, |index| search.go_on(index, &mut waiting, &mut found))
            .await?;
        Ok(found)
    }
}

/// Positions, with a place between any two.
fn arrival(position: Position) -> Arrival {
    Arrival(position.packed().saturating_mul(2))
}

/// Looks for events in auth chains, as far down as they can be there.
struct Search {
    wanted: HashSet<EventNumber>,
    found: EventSet,
    seen: EventSet,
    /// When the first of the wanted events arrived.
    oldest: Option<Arrival>,
}

impl Search {
    fn new(index: &AuthIndex, candidates: &[EventNumber]) -> Self {
        let mut search = Self {
            wanted: candidates.iter().copied().collect(),
            found: EventSet::default(),
            seen: EventSet::default(),
            oldest: None,
        };
        search.narrow(index);
        search
    }

    /// Looks for what is still wanted, and no further.
    fn narrow(&mut self, index: &AuthIndex) {
        let arrived = self.wanted.iter().filter_map(|event| index.arrived(*event));
        self.oldest = arrived.min();
    }

    /// Goes on with events that stand in front of others. Nothing left unread: it has come to its end.
    fn go_on(
        &mut self,
        index: &AuthIndex,
        waiting: &mut Vec<EventNumber>,
        found: &mut Vec<EventNumber>,
    ) -> Unread {
        while let Some(event) = waiting.last().copied() {
            if !index.is_read(event) {
                return Unread::of(index, waiting.iter().copied());
            }
            waiting.pop();
            if self.wanted.is_empty() || index.arrived(event) <= self.oldest {
                continue;
            }
            for behind in index.auth(event) {
                if self.seen.insert(behind) {
                    waiting.push(behind);
                    if self.find(behind) {
                        found.push(behind);
                    }
                }
            }
        }
        Unread::default()
    }

    fn find(&mut self, event: EventNumber) -> bool {
        let is_wanted = self.wanted.remove(&event);
        if is_wanted {
            self.found.insert(event);
        }
        is_wanted
    }
}

impl Comparison {
    /// State by state the events that hold a conflicting key.
    fn conflicting_values(&self) -> Vec<Vec<EventNumber>> {
        let states = self.held.get(..self.states).unwrap_or_default();
        let of = |held: &Vec<Option<EventNumber>>| {
            let value = |at: &usize| held.get(*at).copied().flatten();
            self.conflicts.iter().filter_map(value).collect()
        };
        states.iter().map(of).collect()
    }

    /// The events on which all states agree, by [`KeyNumber`]; also of keys that were listed since.
    fn agreed_values(&self, forks: &Forks) -> Vec<Option<EventNumber>> {
        let mut agreed = Vec::new();
        let mut put = |key: KeyNumber, value: Option<EventNumber>| {
            if key.as_usize() >= agreed.len() {
                agreed.resize(key.as_usize() + 1, None);
            }
            if let Some(agreed) = agreed.get_mut(key.as_usize()) {
                *agreed = value;
            }
        };
        for (key, value) in self.keys.iter().zip(&self.merged) {
            put(*key, *value);
        }
        for at in &self.conflicts {
            if let Some(key) = self.keys.get(*at) {
                put(*key, None);
            }
        }
        for key in forks.window.keys().iter().skip(self.keys.len()) {
            put(*key, forks.window.below(*key));
        }
        agreed
    }

    /// The events on which all states agree, of the keys that are listed.
    fn agreed(&self) -> Vec<EventNumber> {
        let mut agreed = self.merged.clone();
        for at in &self.conflicts {
            if let Some(value) = agreed.get_mut(*at) {
                *value = None;
            }
        }
        agreed.into_iter().flatten().collect()
    }
}
