//! A room that keeps the whole state at every event.

use std::collections::{BTreeSet, HashMap};

use anyhow::{Context, Result};
use hanse_event::{Judged, Pdu, Verdict, check_auth, check_by_auth_events, judge, power, redact};
use ruma::{
    EventId, OwnedEventId,
    events::{StateEventType, TimelineEventType},
    room_version_rules::RoomVersionRules,
    state_res::StateMap,
};

use crate::resolver::Resolver;

/// Of each key the event that holds it.
pub type State = StateMap<OwnedEventId>;

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Known, without a place in the graph.
    Outlier,
    /// In the timeline.
    Accepted,
    /// Allowed where it stands, not by the current state.
    SoftFailed,
    /// Not allowed.
    Rejected,
}

/// An event with the states around it.
#[derive(Clone, Debug)]
pub struct Held {
    /// The event; pruned if it was redacted.
    pub pdu: Pdu,
    /// What became of it.
    pub standing: Standing,
    /// Whether it has a place in the graph.
    pub placed: bool,
    /// Whether it was backfilled.
    pub backfilled: bool,
    /// The states around it, if they are known.
    pub around: Option<Around>,
}

/// What is left of events when one is accepted.
#[derive(Clone, Debug, Default)]
pub struct Pruned {
    /// Of what it redacts.
    pub target: Option<Pdu>,
    /// Of itself.
    pub itself: Option<Pdu>,
}

/// The states around an event.
#[derive(Clone, Debug)]
pub struct Around {
    /// The state before it.
    pub before: State,
    /// The state after it; the same if it was rejected.
    pub after: State,
}

/// The room.
#[derive(Clone, Debug)]
pub struct Reference {
    rules: &'static RoomVersionRules,
    events: HashMap<OwnedEventId, Held>,
    ends: BTreeSet<OwnedEventId>,
    current: State,
    /// Accepted redactions of events that were not, by what they redact.
    early_redactions: HashMap<OwnedEventId, Vec<Pdu>>,
    resolver: Resolver,
}

impl Reference {
    /// A room without events.
    pub fn new(rules: &'static RoomVersionRules) -> Self {
        Self::with(Resolver::new(rules), rules)
    }

    /// A room of the same version without events; it shares what states were resolved to, and nothing
    /// else.
    #[must_use]
    pub fn anew(&self) -> Self {
        Self::with(self.resolver.clone(), self.rules)
    }

    fn with(resolver: Resolver, rules: &'static RoomVersionRules) -> Self {
        Self {
            rules,
            events: HashMap::new(),
            ends: BTreeSet::new(),
            current: State::new(),
            early_redactions: HashMap::new(),
            resolver,
        }
    }

    /// Takes an event; everything that it names has come before.
    pub fn receive(&mut self, pdu: &Pdu) -> Result<Standing> {
        self.receive_fetched(pdu, &[])
    }

    /// Takes an event; `fetched`: the states after those of its `prev_events` that have not come.
    pub fn receive_fetched(&mut self, pdu: &Pdu, fetched: &[State]) -> Result<Standing> {
        let before = self.before(pdu, fetched)?;
        let before = before.context("an event before those that it names")?;
        let has_state = |id: &OwnedEventId| self.around(id).is_ok();
        let now = if pdu.prev_events().iter().all(has_state) {
            self.current.clone()
        } else {
            // Behind a gap, what was told has a say in what holds now.
            let ends = self.ends.iter().map(|id| Ok(&self.around(id)?.after));
            let mut states = ends.collect::<Result<Vec<&State>>>()?;
            states.push(&before);
            self.resolve(&states)?
        };
        let standing = self.judge(pdu, &before, &now);
        self.place(pdu, standing, Some(before));
        if standing == Standing::Accepted {
            let states_before = self.states_at_ends()?;
            for prev in pdu.prev_events() {
                self.ends.remove(prev);
            }
            if !self.is_named(pdu.event_id()) {
                self.ends.insert(pdu.event_id().to_owned());
            }
            let states = self.states_at_ends()?;
            // The same states are not resolved again, though an event in them was pruned since.
            let same = |one: &[State], other: &[State]| one.iter().all(|s| other.contains(s));
            if !same(&states, &states_before) || !same(&states_before, &states) {
                self.current = self.resolve(&states.iter().collect::<Vec<_>>())?;
            }
        }
        Ok(standing)
    }

    /// The states after the room's ends.
    fn states_at_ends(&self) -> Result<Vec<State>> {
        let ends = self.ends.iter();
        ends.map(|id| Ok(self.around(id)?.after.clone())).collect()
    }

    /// Keeps an event of an auth chain or of a state.
    pub fn receive_outlier(&mut self, pdu: &Pdu) -> Standing {
        let allowed = check_by_auth_events(pdu, self.rules, |id| self.judged(id));
        let standing = match allowed {
            Ok(()) if *pdu.event_type() != TimelineEventType::RoomCreate => Standing::Outlier,
            _ => Standing::Rejected,
        };
        let held = Held {
            pdu: pdu.clone(),
            standing,
            placed: false,
            backfilled: false,
            around: None,
        };
        self.events.insert(pdu.event_id().to_owned(), held);
        standing
    }

    /// Takes an older event; the current state has no say, and stays.
    pub fn backfill(&mut self, pdu: &Pdu, fetched: &[State]) -> Result<Standing> {
        let before = self.before(pdu, fetched)?;
        let mut allowed = check_by_auth_events(pdu, self.rules, |id| self.judged(id));
        if let (Ok(()), Some(before)) = (&allowed, &before) {
            let held =
                |event_type: &StateEventType, key: &str| self.event_in(before, event_type, key);
            allowed = check_auth(pdu, self.rules, held);
        }
        let standing = match allowed {
            Ok(()) => Standing::Accepted,
            Err(_) => Standing::Rejected,
        };
        self.place(pdu, standing, before);
        if let Some(held) = self.events.get_mut(pdu.event_id()) {
            held.backfilled = true;
        }
        Ok(standing)
    }

    fn place(&mut self, pdu: &Pdu, standing: Standing, before: Option<State>) {
        let around = before.map(|before| {
            let mut after = before.clone();
            if let Some((event_type, state_key)) = pdu.state_address()
                && standing != Standing::Rejected
            {
                let key = (event_type, state_key.to_owned());
                after.insert(key, pdu.event_id().to_owned());
            }
            Around { before, after }
        });
        if let Some(target) = pdu.redacts(&self.rules.redaction)
            && standing == Standing::Accepted
            && self.accepted(target).is_none()
        {
            let early = self.early_redactions.entry(target.to_owned());
            early.or_default().push(pdu.clone());
        }
        let held = Held {
            pdu: pdu.clone(),
            standing,
            placed: true,
            backfilled: false,
            around,
        };
        self.events.insert(pdu.event_id().to_owned(), held);
    }

    /// The state before an event; none, if part of what lies before it has no state, and none were
    /// fetched.
    fn before(&self, pdu: &Pdu, fetched: &[State]) -> Result<Option<State>> {
        if !self.ends.is_empty()
            && pdu.prev_events().iter().collect::<BTreeSet<_>>() == self.ends.iter().collect()
        {
            return Ok(Some(self.current.clone()));
        }
        let mut states: Vec<State> = Vec::new();
        let mut is_whole = true;
        for id in pdu.prev_events() {
            match self.events.get(id).and_then(|held| held.around.as_ref()) {
                Some(around) => states.push(around.after.clone()),
                None => is_whole = false,
            }
        }
        if !is_whole {
            if fetched.is_empty() {
                return Ok(None);
            }
            states.extend(fetched.iter().map(|state| self.without_rejected(state)));
        }
        self.resolve(&states.iter().collect::<Vec<_>>()).map(Some)
    }

    /// What was rejected here is in no state that somebody tells, unless it is in the current one.
    fn without_rejected(&self, state: &State) -> State {
        let mut state = state.clone();
        state.retain(|_, id| {
            let rejected = self
                .events
                .get(id)
                .is_some_and(|held| held.standing == Standing::Rejected);
            !rejected || self.current.values().any(|current| current == id)
        });
        state
    }

    /// Whether an accepted event names it as one before it.
    fn is_named(&self, id: &EventId) -> bool {
        let accepted = |held: &&Held| held.standing == Standing::Accepted;
        let mut accepted = self.events.values().filter(accepted);
        accepted.any(|held| held.pdu.prev_events().iter().any(|prev| prev == id))
    }

    /// What the states after these events are resolved to.
    pub fn state_before(&self, prev_events: &[OwnedEventId]) -> Result<State> {
        let states: Result<Vec<&State>> = prev_events
            .iter()
            .map(|id| Ok(&self.around(id)?.after))
            .collect();
        self.resolve(&states?)
    }

    /// What an event would prune if it were accepted now ([spec]): its target, and itself, if its own
    /// redaction came first.
    ///
    /// [spec]: https://spec.matrix.org/v1.16/rooms/v3/#handling-redactions
    pub fn pruned_by(&self, pdu: &Pdu) -> Result<Pruned> {
        let target = pdu.redacts(&self.rules.redaction);
        let target = target.and_then(|id| self.accepted(id));
        let early = self.early_redactions.get(pdu.event_id());
        let mut pruned = Pruned::default();
        if let Some(target) = target {
            pruned.target = self.left_of(&target.pdu, pdu)?;
        }
        for redaction in early.into_iter().flatten() {
            pruned.itself = pruned.itself.or(self.left_of(pdu, redaction)?);
        }
        Ok(pruned)
    }

    fn accepted(&self, id: &EventId) -> Option<&Held> {
        let held = self.events.get(id)?;
        Some(held).filter(|held| held.standing == Standing::Accepted)
    }

    /// What a redaction leaves of an event; none: it may not, by the current state.
    fn left_of(&self, target: &Pdu, redaction: &Pdu) -> Result<Option<Pdu>> {
        let state = |event_type| self.event_in(&self.current, &event_type, "");
        let create = state(StateEventType::RoomCreate).context("a room without its beginning")?;
        let levels = state(StateEventType::RoomPowerLevels);
        let levels = power::power_levels(&create, levels.as_ref(), self.rules)?;
        if !power::redaction_takes_effect(&levels, redaction, target) {
            return Ok(None);
        }
        Ok(redact(target, self.rules, None).ok())
    }

    /// Puts a pruned event in the place of the event that it was.
    pub fn prune(&mut self, pruned: Pdu) {
        // What was pruned may resolve to something else, and only here.
        self.resolver = Resolver::new(self.rules);
        if let Some(held) = self.events.get_mut(pruned.event_id()) {
            held.pdu = pruned;
        }
    }

    /// The current state.
    pub fn current(&self) -> &State {
        &self.current
    }

    /// The forward extremities.
    pub fn ends(&self) -> &BTreeSet<OwnedEventId> {
        &self.ends
    }

    /// An event.
    pub fn held(&self, id: &EventId) -> Result<&Held> {
        self.events
            .get(id)
            .with_context(|| format!("{id} is not known to the reference"))
    }

    /// The states around an event.
    pub fn around(&self, id: &EventId) -> Result<&Around> {
        let around = self.held(id)?.around.as_ref();
        around.with_context(|| format!("the state at {id} is not known to the reference"))
    }

    /// Whether an event has come, be it as an outlier.
    pub fn knows(&self, id: &EventId) -> bool {
        self.events.contains_key(id)
    }

    /// Whether an event was rejected.
    pub fn has_rejected(&self, id: &EventId) -> bool {
        let held = self.events.get(id);
        held.is_some_and(|held| held.standing == Standing::Rejected)
    }

    /// Whether an event has a place in the graph.
    pub fn has_placed(&self, id: &EventId) -> bool {
        self.events.get(id).is_some_and(|held| held.placed)
    }

    /// The events that are shown or were backfilled, each with those before it that have no place in the
    /// graph.
    pub fn gaps(&self) -> BTreeSet<(OwnedEventId, OwnedEventId)> {
        let shown = |held: &&Held| held.standing == Standing::Accepted || held.backfilled;
        let placed = self.events.values().filter(shown);
        let named = placed.flat_map(|held| {
            let id = held.pdu.event_id();
            held.pdu
                .prev_events()
                .iter()
                .map(move |prev| (id.to_owned(), prev.clone()))
        });
        named.filter(|(_, prev)| !self.has_placed(prev)).collect()
    }

    /// The event that holds a key of a state.
    pub fn event_in(&self, state: &State, event_type: &StateEventType, key: &str) -> Option<Pdu> {
        let id = state.get(&(event_type.clone(), key.to_owned()))?;
        Some(self.events.get(id)?.pdu.clone())
    }

    fn judge(&self, pdu: &Pdu, before: &State, now: &State) -> Standing {
        let is_create = *pdu.event_type() == TimelineEventType::RoomCreate;
        if is_create && !self.events.is_empty() {
            return Standing::Rejected;
        }
        let fetch = |id: &EventId| self.judged(id);
        let then = |event_type: &StateEventType, key: &str| self.event_in(before, event_type, key);
        let now = |event_type: &StateEventType, key: &str| self.event_in(now, event_type, key);
        match judge(pdu.clone(), self.rules, fetch, then, now) {
            Verdict::Accepted(_) => Standing::Accepted,
            Verdict::SoftFailed(_) => Standing::SoftFailed,
            Verdict::Rejected(_) => Standing::Rejected,
        }
    }

    fn judged(&self, id: &EventId) -> Option<Judged> {
        let held = self.events.get(id)?;
        Some(match held.standing {
            Standing::Rejected => Judged::Rejected(held.pdu.clone()),
            _ => Judged::Usable(held.pdu.clone()),
        })
    }

    fn resolve(&self, states: &[&State]) -> Result<State> {
        let fetch = |id: &EventId| Some(self.events.get(id)?.pdu.clone());
        self.resolver.resolve(states, fetch)
    }
}
