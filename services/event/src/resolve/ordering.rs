//! The two orders in which events are tried.

use std::collections::{BTreeMap, HashMap};

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
    index::{AuthIndex, EventNumber, EventSet},
};

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
            let auth = self.auth(event).iter().copied();
            let auth: Vec<EventNumber> = auth.filter(|id| full.set.contains(*id)).collect();
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
        let levels = facts.levels.and_then(|levels| self.pdu(levels));
        let levels = levels.map(RoomPowerLevelsEvent::new);
        let creators = match self.create_of(&facts.pdu, &facts.auth) {
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

    /// The events of the conflict but these, in the mainline ordering ([spec]) of some power levels.
    ///
    /// [spec]: https://spec.matrix.org/v1.16/rooms/v2/#definitions
    pub(super) fn mainline_ordering(
        &self,
        full: &FullConflict,
        but: &EventSet,
        levels: Option<EventNumber>,
    ) -> Vec<EventNumber> {
        let mut mainline = Mainline::of(self, levels);
        let mut at_positions: BTreeMap<Option<usize>, Vec<EventNumber>> = BTreeMap::new();
        let rest = self.by_time().iter().copied();
        for event in rest.filter(|event| full.set.contains(*event) && !but.contains(*event)) {
            let position = mainline.position(self, event);
            at_positions.entry(position).or_default().push(event);
        }
        at_positions.into_values().flatten().collect()
    }
}

/// The power levels that stand behind some power levels, one behind the other.
struct Mainline {
    /// Counted from the oldest; `None`: of another line altogether. Grows with what is looked up.
    positions: HashMap<EventNumber, Option<usize>>,
}

impl Mainline {
    fn of(index: &AuthIndex, levels: Option<EventNumber>) -> Self {
        let behind = |event: &EventNumber| index.facts(*event)?.levels;
        let line: Vec<EventNumber> = std::iter::successors(levels, behind).collect();
        let positions = line.iter().rev().enumerate();
        Self {
            positions: positions.map(|(at, event)| (*event, Some(at))).collect(),
        }
    }

    /// Where the first event of the mainline stands that is behind an event. Less: further back;
    /// `None` least of all.
    fn position(&mut self, index: &AuthIndex, of: EventNumber) -> Option<usize> {
        let mut passed = Vec::new();
        let mut next = Some(of);
        let mut position = None;
        while let Some(event) = next {
            if let Some(known) = self.positions.get(&event) {
                position = *known;
                break;
            }
            passed.push(event);
            next = index.facts(event).and_then(|facts| facts.levels);
        }
        // Power levels are passed by many; the event itself is asked for once.
        let levels = passed.into_iter().skip(1);
        self.positions.extend(levels.map(|event| (event, position)));
        position
    }
}
