//! State resolution of what conflicts, fed from the archives.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt, TryStreamExt, stream};
use hanse_event::{
    Pdu,
    resolve::{Dispute, EventNumber, EventSet, KeyNumber},
};
use hanse_log::Position;
use ruma::OwnedEventId;

use super::{EVENTS_MAX, Graph, forks::Forks, merge::Comparison, too_many, unresolvable};
use crate::{RoomError, tables::MEMBER_SHARDS};

/// Events that are read at the same time.
const READS_AT_ONCE: usize = 32;

impl Graph<'_> {
    /// Puts in what becomes of the conflicting keys, and of those that no state has and the auth
    /// difference gives.
    pub(super) async fn resolve(
        &self,
        forks: &mut Forks,
        comparison: &mut Comparison,
    ) -> Result<(), RoomError> {
        let values = comparison.conflicting_values();
        self.know(forks, values.iter().flatten().copied()).await?;
        let dispute = forks.index.dispute(&values);
        let behind_agreed = self.behind_agreed(forks, comparison, &dispute).await?;
        let full = forks.index.full_conflict(&dispute, &behind_agreed);

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
        self.know(forks, values).await?;

        let resolved = forks.index.resolve(&full, value).map_err(unresolvable)?;
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

    /// Has events and everything in their auth chains in the index.
    async fn know(
        &self,
        forks: &mut Forks,
        events: impl IntoIterator<Item = EventNumber>,
    ) -> Result<(), RoomError> {
        let unknown = events
            .into_iter()
            .filter(|event| !forks.index.is_known(*event));
        let ids = unknown.filter_map(|event| forks.index.id(event).cloned());
        let mut waiting: HashSet<OwnedEventId> = ids.collect();
        let mut read: HashMap<OwnedEventId, Pdu> = HashMap::new();
        let mut arrived: Vec<(OwnedEventId, Option<Position>)> = Vec::new();
        while !waiting.is_empty() {
            let graph = *self;
            let reads = waiting.into_iter().map(|id| async move {
                let usable = graph.usable(&id).await?;
                Ok::<_, RoomError>(usable.map(|(pdu, position)| (id, pdu, position)))
            });
            let reads = stream::iter(reads).buffer_unordered(READS_AT_ONCE);
            let found: Vec<_> = reads.try_collect().await?;
            let found: Vec<_> = found.into_iter().flatten().collect();
            if forks.index.len() + read.len() + found.len() > EVENTS_MAX {
                return Err(too_many());
            }
            let mut next = HashSet::new();
            for (id, pdu, position) in found {
                next.extend(pdu.auth_events().iter().cloned());
                arrived.push((id.clone(), position));
                read.insert(id, pdu);
            }
            next.retain(|id| {
                let event = forks.index.number(id);
                !read.contains_key(id) && !forks.index.is_known(event)
            });
            waiting = next;
        }
        for (id, position) in arrived {
            let event = forks.index.number(&id);
            if let Some(position) = position {
                forks.has_arrived(event, position);
            }
        }
        forks.index.add(read);
        Ok(())
    }

    /// Which of the candidates stand behind something on which all states agree.
    async fn behind_agreed(
        &self,
        forks: &mut Forks,
        comparison: &Comparison,
        dispute: &Dispute,
    ) -> Result<EventSet, RoomError> {
        let mut search = Search::new(dispute.candidates());
        for event in comparison.agreed() {
            if search.wanted.is_empty() {
                return Ok(search.found);
            }
            self.follow(forks, &mut search, event).await?;
        }
        let listed_from = forks.window.from();
        for event in search.wanted.clone() {
            let cited_by = forks.cited.get(&event);
            if cited_by.is_some_and(|key| forks.window.place(*key).is_none()) {
                search.find(event);
            } else if forks.uncited.contains(event)
                || self.arrived(forks, event).await? > listed_from
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
        let mut oldest = Position::END;
        for event in &search.wanted {
            oldest = oldest.min(self.arrived(forks, *event).await?);
        }
        for shard in 0..=MEMBER_SHARDS {
            if search.wanted.is_empty() {
                return Ok(());
            }
            for value in self
                .reader
                .shard(self.room_id, shard, forks.window.to())
                .await?
            {
                let key = forks.index.key(&value.event_type, &value.state_key);
                if value.position <= oldest || forks.window.place(key).is_some() {
                    continue;
                }
                let event = forks.index.number(&value.event_id);
                for found in self.follow(forks, search, event).await? {
                    forks.cited.insert(found, key);
                }
            }
        }
        for event in &search.wanted {
            forks.uncited.insert(*event);
        }
        Ok(())
    }

    /// Follows the auth chain of an event; gives what was found there for the first time.
    async fn follow(
        &self,
        forks: &mut Forks,
        search: &mut Search,
        from: EventNumber,
    ) -> Result<Vec<EventNumber>, RoomError> {
        self.know(forks, [from]).await?;
        let mut found = Vec::new();
        let mut waiting = vec![from];
        while let Some(event) = waiting.pop() {
            for behind in forks.index.auth(event) {
                if search.seen.insert(*behind) {
                    waiting.push(*behind);
                    if search.find(*behind) {
                        found.push(*behind);
                    }
                }
            }
        }
        Ok(found)
    }

    /// Where an event arrived; one that has not does so after all others.
    async fn arrived(&self, forks: &mut Forks, event: EventNumber) -> Result<Position, RoomError> {
        if let Some(position) = forks.arrived(event) {
            return Ok(position);
        }
        let Some(id) = forks.index.id(event) else {
            return Ok(Position::END);
        };
        let Some(place) = self.reader.place(id).await? else {
            return Ok(Position::END);
        };
        let arrived = place.arrived.unwrap_or(place.position);
        forks.has_arrived(event, arrived);
        Ok(arrived)
    }
}

/// Looks for events in auth chains.
struct Search {
    wanted: HashSet<EventNumber>,
    found: EventSet,
    seen: EventSet,
}

impl Search {
    fn new(candidates: &[EventNumber]) -> Self {
        Self {
            wanted: candidates.iter().copied().collect(),
            found: EventSet::default(),
            seen: EventSet::default(),
        }
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
