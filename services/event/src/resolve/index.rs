//! Events and what stands behind them, by number.

use std::collections::{BTreeSet, HashMap};

use ruma::{
    EventId, OwnedEventId,
    events::{
        StateEventType, TimelineEventType,
        room::{member::MembershipState, power_levels::UserPowerLevel},
    },
    room_version_rules::{RoomVersionRules, StateResolutionV2Rules},
};

use super::ResolveError;
use crate::{auth::auth_types_of, pdu::Pdu};

/// An event of an [`AuthIndex`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventNumber(u32);

/// A type and state key of an [`AuthIndex`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyNumber(u32);

impl EventNumber {
    /// Counted from 0 in the order of first mention: for tables beside the index.
    pub fn as_usize(self) -> usize {
        self.0 as usize
    }
}

impl KeyNumber {
    /// Counted from 0 in the order of first mention: for tables beside the index.
    pub fn as_usize(self) -> usize {
        self.0 as usize
    }
}

/// When an event arrived. An event arrives after those that authorise it: who goes down auth chains,
/// the latest event first, meets each one after everything that it stands behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Arrival(pub i64);

impl Arrival {
    /// Right behind it.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Events that have to be read before it can go on ([`AuthIndex::add`], [`AuthIndex::add_absent`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unread(pub(super) Vec<EventNumber>);

impl Unread {
    /// These of the events.
    pub fn of(index: &AuthIndex, events: impl IntoIterator<Item = EventNumber>) -> Self {
        let unread = events.into_iter().filter(|event| !index.is_read(*event));
        let unread: BTreeSet<EventNumber> = unread.collect();
        Self(unread.into_iter().collect())
    }

    /// Whether it can go on.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The events, each once.
    pub fn events(&self) -> &[EventNumber] {
        &self.0
    }
}

/// A set of events.
#[derive(Clone, Debug, Default)]
pub struct EventSet(Vec<bool>);

impl EventSet {
    /// Adds an event; whether it was new.
    pub fn insert(&mut self, event: EventNumber) -> bool {
        let at = event.as_usize();
        if at >= self.0.len() {
            self.0.resize(at + 1, false);
        }
        self.0
            .get_mut(at)
            .is_some_and(|held| !std::mem::replace(held, true))
    }

    /// Whether it holds an event.
    pub fn contains(&self, event: EventNumber) -> bool {
        self.0.get(event.as_usize()).copied().unwrap_or(false)
    }
}

/// Events of one room, as far as they were read, and what resolving asks of them, worked out once:
/// resolving a second time, with a few events more, costs counting.
///
/// What it needs beyond that, it asks for: the walks of this module tell which events are to be read
/// before they can go on. So an auth chain is read as far down as states differ, and no further,
/// however long it is.
///
/// Invariant: what is remembered of an event depends on that event and its auth chain alone, which
/// never change; so nothing is ever forgotten here.
#[derive(Debug)]
pub struct AuthIndex {
    pub(super) rules: &'static RoomVersionRules,
    pub(super) version: &'static StateResolutionV2Rules,
    keys: HashMap<Box<str>, HashMap<Box<str>, KeyNumber>>,
    names: Vec<(Box<str>, Box<str>)>,
    numbers: HashMap<OwnedEventId, EventNumber>,
    events: Vec<Mentioned>,
    /// What is known, as it was read.
    known: Vec<EventNumber>,
    /// The same by the clocks of their senders, then by their ids, as far as it was sorted.
    by_time: Vec<EventNumber>,
    weight: usize,
}

#[derive(Debug)]
struct Mentioned {
    id: OwnedEventId,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Unread,
    /// There is no such event, or it is rejected: as if nobody named it.
    Absent,
    Known(Box<Facts>),
}

/// What resolving asks of an event.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) pdu: Pdu,
    arrived: Arrival,
    auth: Box<[EventNumber]>,
    pub(super) key: KeyNumber,
    /// What authorises it, by the selection algorithm; `None`: it says too little for that.
    pub(super) reads: Option<Box<[KeyNumber]>>,
    pub(super) is_power_event: bool,
    /// Its sender's level by the power levels that it names.
    pub(super) sender_level: Option<UserPowerLevel>,
    pub(super) verdict: Option<LastVerdict>,
}

/// What the auth rules said last.
#[derive(Debug)]
pub(super) struct LastVerdict {
    /// The state by which they judged, key by key of [`Facts::reads`].
    pub(super) by: Box<[Option<EventNumber>]>,
    pub(super) allowed: bool,
}

impl AuthIndex {
    /// Without events. Fails for room versions whose algorithm is another one.
    pub fn new(rules: &'static RoomVersionRules) -> Result<Self, ResolveError> {
        let version = rules
            .state_res
            .v2_rules()
            .ok_or(ResolveError::Unsupported)?;
        Ok(Self {
            rules,
            version,
            keys: HashMap::new(),
            names: Vec::new(),
            numbers: HashMap::new(),
            events: Vec::new(),
            known: Vec::new(),
            by_time: Vec::new(),
            weight: 0,
        })
    }

    /// The number of an event, whether its facts are known or not.
    pub fn number(&mut self, id: &EventId) -> EventNumber {
        if let Some(number) = self.numbers.get(id) {
            return *number;
        }
        let number = EventNumber(self.events.len() as u32);
        self.numbers.insert(id.to_owned(), number);
        let id = id.to_owned();
        self.weight += 2 * size_of::<Mentioned>() + 2 * id.as_str().len();
        let content = Content::Unread;
        self.events.push(Mentioned { id, content });
        number
    }

    /// An event's id.
    pub fn id(&self, event: EventNumber) -> Option<&OwnedEventId> {
        Some(&self.events.get(event.as_usize())?.id)
    }

    /// The number of a type and state key.
    pub fn key(&mut self, event_type: &str, state_key: &str) -> KeyNumber {
        if let Some(key) = self.find_key(event_type, state_key) {
            return key;
        }
        let key = KeyNumber(self.names.len() as u32);
        self.keys
            .entry(event_type.into())
            .or_default()
            .insert(state_key.into(), key);
        self.names.push((event_type.into(), state_key.into()));
        self.weight += 64 + event_type.len() + 2 * state_key.len();
        key
    }

    pub(super) fn find_key(&self, event_type: &str, state_key: &str) -> Option<KeyNumber> {
        self.keys.get(event_type)?.get(state_key).copied()
    }

    /// Type and state key.
    pub fn name(&self, key: KeyNumber) -> (&str, &str) {
        let name = self.names.get(key.as_usize());
        name.map_or(("", ""), |(event_type, state_key)| (event_type, state_key))
    }

    /// Whether it was told of an event what there is of it.
    pub fn is_read(&self, event: EventNumber) -> bool {
        let mentioned = self.events.get(event.as_usize());
        mentioned.is_some_and(|mentioned| !matches!(mentioned.content, Content::Unread))
    }

    /// Whether an event is known: it was read, and it is there.
    pub fn is_known(&self, event: EventNumber) -> bool {
        self.facts(event).is_some()
    }

    /// An event that is known.
    pub fn pdu(&self, event: EventNumber) -> Option<&Pdu> {
        Some(&self.facts(event)?.pdu)
    }

    /// When an event that is known arrived.
    pub fn arrived(&self, event: EventNumber) -> Option<Arrival> {
        Some(self.facts(event)?.arrived)
    }

    /// The events that authorise an event that is known, but those that are not there.
    pub fn auth(&self, event: EventNumber) -> impl DoubleEndedIterator<Item = EventNumber> {
        let auth = self.facts(event).map_or(&[][..], |facts| &facts.auth);
        let is_there = |event: &EventNumber| !self.is_read(*event) || self.is_known(*event);
        auth.iter().copied().filter(is_there)
    }

    /// Of the events that authorise these, those that were not read.
    pub fn unread_behind(&self, events: impl IntoIterator<Item = EventNumber>) -> Unread {
        Unread::of(self, events.into_iter().flat_map(|event| self.auth(event)))
    }

    /// The power levels that an event names; those that authorise it were read.
    pub(super) fn levels(&self, event: EventNumber) -> Option<EventNumber> {
        self.auth(event).find(|behind| self.is_levels(*behind))
    }

    pub(super) fn is_levels(&self, event: EventNumber) -> bool {
        self.pdu(event)
            .is_some_and(|pdu| is(pdu, &TimelineEventType::RoomPowerLevels))
    }

    /// Whether others may name an event as what authorises them.
    pub(super) fn may_authorise(&self, event: EventNumber) -> bool {
        let may = |pdu: &Pdu| {
            matches!(
                pdu.event_type(),
                TimelineEventType::RoomCreate
                    | TimelineEventType::RoomJoinRules
                    | TimelineEventType::RoomMember
                    | TimelineEventType::RoomPowerLevels
                    | TimelineEventType::RoomThirdPartyInvite
            )
        };
        self.pdu(event).is_some_and(may)
    }

    /// Events that are known.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Rough size in memory, bytes.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// How many keys have numbers.
    pub(super) fn names(&self) -> usize {
        self.names.len()
    }

    pub(super) fn by_time(&self) -> &[EventNumber] {
        &self.by_time
    }

    pub(super) fn facts(&self, event: EventNumber) -> Option<&Facts> {
        match &self.events.get(event.as_usize())?.content {
            Content::Known(facts) => Some(facts),
            Content::Unread | Content::Absent => None,
        }
    }

    pub(super) fn facts_mut(&mut self, event: EventNumber) -> Option<&mut Facts> {
        match &mut self.events.get_mut(event.as_usize())?.content {
            Content::Known(facts) => Some(facts),
            Content::Unread | Content::Absent => None,
        }
    }

    /// There is no such event, or it is rejected. So it stays.
    pub fn add_absent(&mut self, event: EventNumber) {
        if let Some(mentioned) = self.events.get_mut(event.as_usize())
            && matches!(mentioned.content, Content::Unread)
        {
            mentioned.content = Content::Absent;
        }
    }

    /// Takes in an event. What is no state event counts as absent.
    pub fn add(&mut self, pdu: Pdu, arrived: Arrival) {
        let event = self.number(pdu.event_id());
        if self.is_read(event) {
            return;
        }
        let Some(state_key) = pdu.state_key() else {
            return self.add_absent(event);
        };
        let key = self.key(pdu.type_name(), state_key);
        let reads = auth_types_of(&pdu, self.rules).ok().map(|types| {
            let key = |(event_type, key): &(StateEventType, String)| {
                self.key(&event_type.to_string(), key)
            };
            types.iter().map(key).collect()
        });
        let auth = pdu.auth_events().iter().map(|id| self.number(id));
        let facts = Facts {
            arrived,
            is_power_event: is_power_event(&pdu),
            auth: auth.collect(),
            key,
            reads,
            sender_level: None,
            verdict: None,
            pdu,
        };
        self.weight += size_of::<Facts>() + facts.pdu.weight() + 32 * facts.auth.len();
        if let Some(mentioned) = self.events.get_mut(event.as_usize()) {
            mentioned.content = Content::Known(Box::new(facts));
            self.known.push(event);
        }
    }

    pub(super) fn sort_by_time(&mut self) {
        let mut sorted = std::mem::take(&mut self.by_time);
        sorted.extend(self.known.iter().skip(sorted.len()));
        let time = |event: &EventNumber| {
            let at = self.pdu(*event).map(Pdu::origin_server_ts);
            (at, self.id(*event))
        };
        // Linear where all but the last few are in order.
        sorted.sort_by(|a, b| time(a).cmp(&time(b)));
        self.by_time = sorted;
    }

    /// The create event that counts for an event, if it is known.
    pub(super) fn create_of(&self, event: EventNumber) -> Option<&Pdu> {
        let pdu = self.pdu(event)?;
        if self.rules.authorization.room_create_event_id_as_room_id {
            let id = EventId::parse(format!("${}", pdu.room_id().strip_sigil())).ok()?;
            return self.pdu(*self.numbers.get(&id)?);
        }
        let mut auth = self.auth(event).filter_map(|event| self.pdu(event));
        auth.find(|pdu| is(pdu, &TimelineEventType::RoomCreate))
    }
}

/// Whether an event is of a type that is given, with an empty state key.
fn is(pdu: &Pdu, event_type: &TimelineEventType) -> bool {
    pdu.event_type() == event_type && pdu.state_key() == Some("")
}

/// Events that may take away somebody's ability to do something ([spec]).
///
/// [spec]: https://spec.matrix.org/v1.16/rooms/v2/#definitions
fn is_power_event(pdu: &Pdu) -> bool {
    match pdu.event_type() {
        TimelineEventType::RoomPowerLevels
        | TimelineEventType::RoomJoinRules
        | TimelineEventType::RoomCreate => pdu.state_key() == Some(""),
        TimelineEventType::RoomMember => {
            let ends_it = matches!(
                pdu.membership(),
                Some(MembershipState::Leave | MembershipState::Ban)
            );
            ends_it && pdu.state_key() != Some(pdu.sender().as_str())
        }
        _ => false,
    }
}
