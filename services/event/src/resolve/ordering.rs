//! The two orders in which events are tried.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedEventId,
    events::room::power_levels::UserPowerLevel,
    state_res::{
        self,
        events::{RoomCreateEvent, RoomPowerLevelsEvent, RoomPowerLevelsIntField},
        reverse_topological_power_sort,
        utils::{event_id_map::EventIdMap, event_id_set::EventIdSet},
    },
};

use super::{
    ResolveError,
    dispute::FullConflict,
    index::{Arrival, AuthIndex, EventNumber, EventSet, Unread},
};

/// Of a mainline that has no events: everything is below it.
const LATEST: Option<Arrival> = Some(Arrival(i64::MAX));
/// The creator's level where there are no power levels.
const CREATOR_LEVEL: i32 = 100;

impl AuthIndex {
    /// The power events, and what stands behind them, in reverse topological power ordering ([spec]).
    ///
    /// [spec]: https://spec.matrix.org/v1.16/rooms/v2/#definitions
    pub(super) fn power_ordering(
        &mut self,
        full: &FullConflict,
    ) -> Result<Vec<EventNumber>, ResolveError> {
        let is_power_event = |event: &&EventNumber| {
            self.facts(**event)
                .is_some_and(|facts| facts.is_power_event)
        };
        let power_events = full.events.iter().filter(is_power_event);
        let mut waiting: Vec<EventNumber> = power_events.copied().collect();
        let mut cited: HashMap<EventNumber, Vec<EventNumber>> = HashMap::new();
        while let Some(event) = waiting.pop() {
            if cited.contains_key(&event) {
                continue;
            }
            let auth = self.auth(event).filter(|id| full.set.contains(*id));
            let auth: Vec<EventNumber> = auth.collect();
            waiting.extend(&auth);
            cited.insert(event, auth);
        }
        self.sorted_by_power(&cited)
    }

    fn sorted_by_power(
        &mut self,
        cited: &HashMap<EventNumber, Vec<EventNumber>>,
    ) -> Result<Vec<EventNumber>, ResolveError> {
        let mut graph: EventIdMap<OwnedEventId, EventIdSet<OwnedEventId>> = EventIdMap::new();
        let mut details = EventIdMap::new();
        for (event, auth) in cited {
            let (Some(id), Some(facts)) = (self.id(*event).cloned(), self.facts(*event)) else {
                continue;
            };
            let at = facts.pdu.origin_server_ts();
            let auth = auth.iter().filter_map(|event| self.id(*event)).cloned();
            graph.insert(id.clone(), auth.collect());
            details.insert(id, (*event, self.sender_level(*event)?, at));
        }
        let detail = |id: &ruma::EventId| -> state_res::Result<_> {
            let unknown = || state_res::Error::NotFound(id.to_owned());
            let (_, level, at): &(EventNumber, UserPowerLevel, MilliSecondsSinceUnixEpoch) =
                details.get(id).ok_or_else(unknown)?;
            Ok((*level, *at))
        };
        let sorted = reverse_topological_power_sort(&graph, detail)?;
        let number = |id: OwnedEventId| details.get(&id).map(|(event, ..)| *event);
        Ok(sorted.into_iter().filter_map(number).collect())
    }

    /// The level of an event's sender, by what the event itself names.
    fn sender_level(&mut self, event: EventNumber) -> Result<UserPowerLevel, ResolveError> {
        if let Some(level) = self.facts(event).and_then(|facts| facts.sender_level) {
            return Ok(level);
        }
        let level = self.new_sender_level(event);
        let level = level.map_err(state_res::Error::AuthEvent)?;
        if let Some(facts) = self.facts_mut(event) {
            facts.sender_level = Some(level);
        }
        Ok(level)
    }

    fn new_sender_level(&mut self, event: EventNumber) -> Result<UserPowerLevel, String> {
        let rules = &self.rules.authorization;
        let Some(facts) = self.facts(event) else {
            return Ok(RoomPowerLevelsIntField::UsersDefault.default_value().into());
        };
        let sender = facts.pdu.sender();
        let levels = self.levels(event).and_then(|levels| self.pdu(levels));
        let levels = levels.map(RoomPowerLevelsEvent::new);
        let creators = match self.create_of(event) {
            Some(create) => Some(RoomCreateEvent::new(create).creators(rules)?),
            None => None,
        };
        let is_creator = creators.is_some_and(|creators| creators.contains(sender));
        if is_creator && rules.explicitly_privilege_room_creators {
            return Ok(UserPowerLevel::Infinite);
        }
        let level = match levels {
            Some(levels) => levels.user_power_level(sender, rules)?,
            None if is_creator => CREATOR_LEVEL.into(),
            None => RoomPowerLevelsIntField::UsersDefault.default_value(),
        };
        Ok(level.into())
    }
}

/// The events of a conflict but some, in the mainline ordering ([spec]) of some power levels.
///
/// Where an event stands is told by the first of its power levels that is on the mainline. Power levels
/// arrive after those that they name: so the mainline is gone down as far as these, and not to its end.
///
/// [spec]: https://spec.matrix.org/v1.16/rooms/v2/#definitions
#[derive(Debug)]
pub(super) struct MainlineOrdering {
    /// The last first: to be placed.
    waiting: Vec<EventNumber>,
    /// The farther down the mainline, the earlier; what has none of it behind comes first.
    placed: BTreeMap<Option<Reverse<usize>>, Vec<EventNumber>>,
    mainline: HashMap<EventNumber, usize>,
    /// The last one down that was met; `None`: there are no more.
    bottom: Option<EventNumber>,
    /// When the last one down arrived that was met.
    lowest: Option<Arrival>,
    /// Other power levels, and the place on the mainline behind them.
    beside: HashMap<EventNumber, Option<usize>>,
}

impl MainlineOrdering {
    pub(super) fn new(
        index: &mut AuthIndex,
        full: &FullConflict,
        but: &EventSet,
        levels: Option<EventNumber>,
    ) -> Self {
        index.sort_by_time();
        let rest = index.by_time().iter().copied().rev();
        let rest = rest.filter(|event| full.set.contains(*event) && !but.contains(*event));
        Self {
            waiting: rest.collect(),
            placed: BTreeMap::new(),
            mainline: levels.iter().map(|levels| (*levels, 0)).collect(),
            bottom: levels,
            lowest: levels.and_then(|levels| index.arrived(levels)),
            beside: HashMap::new(),
        }
    }

    /// Goes on. Nothing left unread: it has come to its end.
    pub(super) fn go_on(&mut self, index: &AuthIndex) -> Unread {
        while let Some(event) = self.waiting.last().copied() {
            match self.position(index, event) {
                Ok(position) => self
                    .placed
                    .entry(position.map(Reverse))
                    .or_default()
                    .push(event),
                Err(unread) => return unread,
            }
            self.waiting.pop();
        }
        Unread::default()
    }

    /// The events, when it has come to its end.
    pub(super) fn into_events(self) -> impl Iterator<Item = EventNumber> {
        self.placed.into_values().flatten()
    }

    /// How far down the mainline its first event is that stands behind an event, or is it.
    fn position(&mut self, index: &AuthIndex, of: EventNumber) -> Result<Option<usize>, Unread> {
        let mut passed = Vec::new();
        let mut next = if index.is_levels(of) {
            Some(of)
        } else {
            levels_of(index, of)?
        };
        let mut position = None;
        while let Some(levels) = next {
            self.go_down(index, index.arrived(levels))?;
            let known = self.mainline.get(&levels).copied().map(Some);
            if let Some(known) = known.or_else(|| self.beside.get(&levels).copied()) {
                position = known;
                break;
            }
            if self.bottom.is_none() && index.arrived(levels) < self.lowest.or(LATEST) {
                // The mainline ends above it.
                break;
            }
            passed.push(levels);
            next = levels_of(index, levels)?;
        }
        self.beside
            .extend(passed.into_iter().map(|levels| (levels, position)));
        Ok(position)
    }

    /// Goes down the mainline as far as it may have arrived after something.
    fn go_down(&mut self, index: &AuthIndex, to: Option<Arrival>) -> Result<(), Unread> {
        while let Some(bottom) = self.bottom.filter(|event| index.arrived(*event) > to) {
            self.bottom = levels_of(index, bottom)?;
            let depth = self.mainline.len();
            self.lowest = self
                .bottom
                .and_then(|levels| index.arrived(levels))
                .or(self.lowest);
            self.mainline
                .extend(self.bottom.map(|levels| (levels, depth)));
        }
        Ok(())
    }
}

/// The power levels that an event names.
fn levels_of(index: &AuthIndex, event: EventNumber) -> Result<Option<EventNumber>, Unread> {
    let unread = index.unread_behind([event]);
    if unread.is_empty() {
        Ok(index.levels(event))
    } else {
        Err(unread)
    }
}
