//! The iterative auth checks, and with them the algorithm.

use ruma::{events::StateEventType, state_res::check_state_dependent_auth_rules};

use super::{
    ResolveError,
    dispute::FullConflict,
    index::{AuthIndex, EventNumber, EventSet, KeyNumber, LastVerdict, Unread},
    ordering::MainlineOrdering,
};

/// Where resolving has come to.
#[derive(Debug)]
pub struct Resolving<A> {
    trial: Trial<A>,
    /// What is still to be tried.
    rest: MainlineOrdering,
}

/// The events that won, on top of what the states agree on.
#[derive(Debug)]
struct Trial<A> {
    /// What the states agree on; until version 12 it authorises, too.
    agreed: Option<A>,
    won: Vec<Option<EventNumber>>,
}

/// The events that won.
#[derive(Debug)]
pub struct Resolved(Vec<Option<EventNumber>>);

impl Resolved {
    /// The event that won a key.
    pub fn get(&self, key: KeyNumber) -> Option<EventNumber> {
        self.0.get(key.as_usize()).copied().flatten()
    }
}

impl AuthIndex {
    /// Begins to resolve states ([spec]). `agreed`: of each of [`AuthIndex::keys_of`] and of the room's
    /// create event and power levels the event on which all states agree; it was read, and so was what
    /// authorises the events of the conflict.
    ///
    /// [spec]: https://spec.matrix.org/v1.16/rooms/v2/#algorithm
    pub fn resolve<A: Fn(KeyNumber) -> Option<EventNumber>>(
        &mut self,
        full: &FullConflict,
        agreed: A,
    ) -> Result<Resolving<A>, ResolveError> {
        let begins_empty = self
            .version
            .begin_iterative_auth_checks_with_empty_state_map;
        let mut trial = Trial {
            agreed: (!begins_empty).then_some(agreed),
            won: vec![None; self.names()],
        };
        let power_events = self.power_ordering(full)?;
        let mut tried = EventSet::default();
        for event in power_events {
            tried.insert(event);
            self.try_event(event, &mut trial);
        }
        let levels = self.find_key("m.room.power_levels", "");
        let levels = levels.and_then(|key| trial.get(key));
        let rest = MainlineOrdering::new(self, full, &tried, levels);
        Ok(Resolving { trial, rest })
    }

    /// Has an event win its key if the auth rules allow it. They are not asked again whether the
    /// event is allowed by a state by which they judged it last.
    fn try_event<A>(&mut self, event: EventNumber, trial: &mut Trial<A>)
    where
        A: Fn(KeyNumber) -> Option<EventNumber>,
    {
        let Some(facts) = self.facts(event) else {
            return;
        };
        let Some(reads) = &facts.reads else { return };
        let by = || {
            let value = |key: &KeyNumber| trial.get(*key).filter(|event| self.is_known(*event));
            reads.iter().map(value)
        };
        let remembered = facts.verdict.as_ref();
        let remembered = remembered.filter(|last| last.by.iter().copied().eq(by()));
        let key = facts.key;
        let allowed = if let Some(last) = remembered {
            last.allowed
        } else {
            let by: Box<[Option<EventNumber>]> = by().collect();
            let allowed = self.allows(event, reads, &by);
            if let Some(facts) = self.facts_mut(event) {
                facts.verdict = Some(LastVerdict { by, allowed });
            }
            allowed
        };
        if allowed {
            trial.win(key, event);
        }
    }

    /// Judges an event by a state; where that says nothing, by what the event itself names.
    fn allows(&self, event: EventNumber, reads: &[KeyNumber], by: &[Option<EventNumber>]) -> bool {
        let Some(pdu) = self.pdu(event) else {
            return false;
        };
        let state = |event_type: &str, state_key: &str| {
            let key = self.find_key(event_type, state_key)?;
            let at = reads.iter().position(|read| *read == key)?;
            self.pdu((*by.get(at)?)?)
        };
        let named = |event_type: &str, state_key: &str| {
            let mut auth = self.auth(event).rev().filter_map(|event| self.pdu(event));
            auth.find(|pdu| pdu.type_name() == event_type && pdu.state_key() == Some(state_key))
        };
        let create = |event_type: &str| {
            let asked = event_type == "m.room.create";
            asked.then(|| self.create_of(event)).flatten()
        };
        let fetch = |event_type: &StateEventType, state_key: &str| {
            let event_type = event_type.to_string();
            state(&event_type, state_key)
                .or_else(|| create(&event_type))
                .or_else(|| named(&event_type, state_key))
        };
        check_state_dependent_auth_rules(&self.rules.authorization, pdu, fetch).is_ok()
    }
}

impl<A: Fn(KeyNumber) -> Option<EventNumber>> Resolving<A> {
    /// Goes on. Nothing left unread: it has come to its end.
    pub fn go_on(&mut self, index: &AuthIndex) -> Unread {
        self.rest.go_on(index)
    }

    /// What won of each key, when it has come to its end; where the states agree on another value, that
    /// one stays all the same.
    pub fn finish(mut self, index: &mut AuthIndex) -> Resolved {
        for event in self.rest.into_events() {
            index.try_event(event, &mut self.trial);
        }
        Resolved(self.trial.won)
    }
}

impl<A: Fn(KeyNumber) -> Option<EventNumber>> Trial<A> {
    fn get(&self, key: KeyNumber) -> Option<EventNumber> {
        let won = self.won.get(key.as_usize()).copied().flatten();
        won.or_else(|| self.agreed.as_ref()?(key))
    }

    fn win(&mut self, key: KeyNumber, event: EventNumber) {
        if let Some(won) = self.won.get_mut(key.as_usize()) {
            *won = Some(event);
        }
    }
}
