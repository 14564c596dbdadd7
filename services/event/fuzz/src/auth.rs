//! The auth rules, on small rooms that the input draws.

use std::collections::BTreeMap;

use arbitrary::Unstructured;
use hanse_event::{Judged, Pdu, Verdict, auth_types_of, check_auth, judge, power};
use ruma::{
    EventId, OwnedEventId, UserId,
    events::{StateEventType, room::power_levels::UserPowerLevel},
};

mod act;
mod levels;
mod oracle;
mod room;

use self::{
    act::Act,
    oracle::{Oracle, Power},
    room::{Room, USERS},
};

/// What the rules allow is what an oracle of their text allows, as far as the text is clear; a verdict
/// follows from the three checks, whatever state each of them sees.
///
/// Sabotage: let whoever is not joined send; give everybody the creator's power; compare a new level
/// with the old one only; ask the current state alone; take a rejected event as an authority.
///
/// True: the oracle knew.
pub fn check(input: &[u8]) -> bool {
    let mut dice = Unstructured::new(input);
    let Ok(room) = Room::draw(&mut dice) else {
        return false;
    };
    let Ok(act) = Act::draw(&mut dice, &room) else {
        return false;
    };
    let subject = Subject::new(room, act);
    let allowed = subject.is_allowed_by(&subject.state);
    let expected = Oracle::new(&subject.room).allows(&subject.act);
    if let Some(expected) = expected {
        assert_eq!(allowed, expected, "{}", subject.told());
    }
    subject.check_verdicts(allowed);
    subject.check_levels();
    expected.is_some()
}

type State = BTreeMap<(String, String), Pdu>;

/// A room and something that is done in it.
struct Subject {
    room: Room,
    act: Act,
    state: State,
    /// Names as its authorities what the state has of them.
    event: Pdu,
}

impl Subject {
    fn new(room: Room, act: Act) -> Self {
        let state = room.state();
        let bare = act.event(&room, &[]);
        let types = auth_types_of(&bare, room.rules).unwrap_or_default();
        let authorities = types.into_iter().filter_map(|(event_type, key)| {
            let pdu = state.get(&(event_type.to_string(), key))?;
            Some(pdu.event_id().to_owned())
        });
        let authorities: Vec<OwnedEventId> = authorities.collect();
        let event = act.event(&room, &authorities);
        Self {
            room,
            act,
            state,
            event,
        }
    }

    fn told(&self) -> String {
        let state: Vec<&str> = self.state.values().map(Pdu::json).collect();
        format!("{:#?}\n{}", state, self.event.json())
    }

    fn is_allowed_by(&self, state: &State) -> bool {
        check_auth(&self.event, self.room.rules, lookup(state)).is_ok()
    }

    fn check_verdicts(&self, allowed: bool) {
        let same = self.judged(&self.event, &self.state, &self.state, None);
        assert_eq!(same == Standing::Accepted, allowed, "{}", self.told());
        assert!(same != Standing::SoftFailed, "{}", self.told());

        for other in self.room.other_states() {
            let elsewhere = self.is_allowed_by(&other);
            let expected = match (allowed, elsewhere) {
                (false, _) => Standing::Rejected,
                (true, false) => Standing::SoftFailed,
                (true, true) => Standing::Accepted,
            };
            let now = self.judged(&self.event, &self.state, &other, None);
            assert_eq!(now, expected, "now: {}", self.told());
            // What its authorities allow is judged before what the state before it does.
            let then = self.judged(&self.event, &other, &self.state, None);
            let expected = if allowed && elsewhere {
                Standing::Accepted
            } else {
                Standing::Rejected
            };
            assert_eq!(then, expected, "then: {}", self.told());
        }
        self.check_authorities();
    }

    /// One authority was rejected, or stands twice in the list: whatever it says, it is rejected.
    fn check_authorities(&self) {
        let authorities = self.event.auth_events();
        for rejected in authorities {
            let judged = self.judged(&self.event, &self.state, &self.state, Some(rejected));
            assert_eq!(judged, Standing::Rejected, "{}", self.told());
        }
        if let Some(first) = authorities.first() {
            let twice = [authorities, std::slice::from_ref(first)].concat();
            let event = self.act.event(&self.room, &twice);
            let judged = self.judged(&event, &self.state, &self.state, None);
            assert_eq!(judged, Standing::Rejected, "{}", self.told());
        }
    }

    fn judged(
        &self,
        event: &Pdu,
        before: &State,
        now: &State,
        rejected: Option<&EventId>,
    ) -> Standing {
        let fetch = |id: &EventId| {
            let pdu = self
                .state
                .values()
                .find(|pdu| pdu.event_id() == id)?
                .clone();
            let is_rejected = rejected == Some(id);
            Some(if is_rejected {
                Judged::Rejected(pdu)
            } else {
                Judged::Usable(pdu)
            })
        };
        match judge(
            event.clone(),
            self.room.rules,
            fetch,
            lookup(before),
            lookup(now),
        ) {
            Verdict::Accepted(_) => Standing::Accepted,
            Verdict::SoftFailed(_) => Standing::SoftFailed,
            Verdict::Rejected(_) => Standing::Rejected,
        }
    }

    /// What clients are told of power levels is what the rules go by.
    fn check_levels(&self) {
        let oracle = Oracle::new(&self.room);
        let get = |event_type: &str| self.state.get(&(event_type.to_owned(), String::new()));
        let create = get("m.room.create").expect("a room has one");
        let levels = power::power_levels(create, get("m.room.power_levels"), self.room.rules);
        let Ok(levels) = levels else {
            panic!("the create event names its creator: {}", self.told())
        };
        for (user, name) in USERS.iter().enumerate() {
            let name: &UserId = (*name).try_into().expect("a user");
            let told = match levels.for_user(name) {
                UserPowerLevel::Infinite => Power::Infinite,
                UserPowerLevel::Int(level) => Power::Level(level.into()),
                other => panic!("an unknown power level: {other:?}"),
            };
            if let Some(power) = oracle.power(user) {
                assert_eq!(told, power, "{name}: {}", self.told());
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Accepted,
    SoftFailed,
    Rejected,
}

fn lookup(state: &State) -> impl Fn(&StateEventType, &str) -> Option<Pdu> {
    |event_type, key| {
        state
            .get(&(event_type.to_string(), key.to_owned()))
            .cloned()
    }
}
