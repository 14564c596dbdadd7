//! What the auth rules made of an event.

use ruma::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, RoomId, UserId,
    events::{StateEventType, TimelineEventType},
    room_version_rules::RoomVersionRules,
    state_res::Event,
};
use serde_json::value::RawValue as RawJsonValue;

use super::{AuthRejected, check_auth, check_auth_events};
use crate::pdu::Pdu;

/// An event that the auth rules allow: it goes into the timeline and, if it is state, the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted(Pdu);

/// Allowed where it stands in the graph, but not by the room's current state: kept, and used in
/// state resolution, but neither shown to clients nor referenced by events of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoftFailed {
    pdu: Pdu,
    /// Why.
    pub reason: AuthRejected,
}

/// Never allowed: kept so as not to ask for it again, and used for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    pdu: Pdu,
    /// Why.
    pub reason: AuthRejected,
}

/// What the auth rules made of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// See [`Accepted`].
    Accepted(Accepted),
    /// See [`SoftFailed`].
    SoftFailed(SoftFailed),
    /// See [`Rejected`].
    Rejected(Rejected),
}

/// An event that was judged earlier, as the list of auth events refers to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// Accepted or soft-failed: may authorise others.
    Usable(Pdu),
    /// Rejected: whoever refers to it is rejected too.
    Rejected(Pdu),
}

impl Accepted {
    /// Allows an event of our own if `state`, the room's current one, allows it.
    pub fn check(
        pdu: Pdu,
        rules: &RoomVersionRules,
        state: impl Fn(&StateEventType, &str) -> Option<Pdu>,
    ) -> Result<Self, AuthRejected> {
        check_auth(&pdu, rules, state).map(|()| Self(pdu))
    }

    /// The event.
    pub fn pdu(&self) -> &Pdu {
        &self.0
    }

    /// The event.
    pub fn into_pdu(self) -> Pdu {
        self.0
    }
}

impl SoftFailed {
    /// The event.
    pub fn pdu(&self) -> &Pdu {
        &self.pdu
    }
}

impl Rejected {
    /// The event.
    pub fn pdu(&self) -> &Pdu {
        &self.pdu
    }
}

/// Judges a received event in the order of the checks on receipt of a PDU: its list of auth
/// events, the state of these events, the state before it, the room's current state.
///
/// `fetch_event` knows every auth event (and, from room version 12 on, the create event); a
/// missing one rejects, so fetch first.
pub fn judge(
    pdu: Pdu,
    rules: &RoomVersionRules,
    fetch_event: impl Fn(&EventId) -> Option<Judged>,
    state_before: impl Fn(&StateEventType, &str) -> Option<Pdu>,
    current_state: impl Fn(&StateEventType, &str) -> Option<Pdu>,
) -> Verdict {
    let allowed = check_by_auth_events(&pdu, rules, fetch_event)
        .and_then(|()| check_auth(&pdu, rules, state_before));
    if let Err(reason) = allowed {
        return Verdict::Rejected(Rejected { pdu, reason });
    }
    match check_auth(&pdu, rules, current_state) {
        Ok(()) => Verdict::Accepted(Accepted(pdu)),
        Err(reason) => Verdict::SoftFailed(SoftFailed { pdu, reason }),
    }
}

/// The part of [`judge`] that needs no place in the graph: the list of auth events, and the state of
/// these events. For outliers it is the whole.
pub fn check_by_auth_events(
    pdu: &Pdu,
    rules: &RoomVersionRules,
    fetch_event: impl Fn(&EventId) -> Option<Judged>,
) -> Result<(), AuthRejected> {
    check_auth_events(pdu, rules, &fetch_event)?;
    check_auth(pdu, rules, state_of_auth_events(pdu, rules, &fetch_event))
}

/// The state that an event's auth events are by themselves.
fn state_of_auth_events(
    pdu: &Pdu,
    rules: &RoomVersionRules,
    fetch_event: impl Fn(&EventId) -> Option<Judged>,
) -> impl Fn(&StateEventType, &str) -> Option<Pdu> {
    let usable = |id: &EventId| match fetch_event(id) {
        Some(Judged::Usable(pdu)) => Some(pdu),
        _ => None,
    };
    let mut events: Vec<Pdu> = pdu
        .auth_events()
        .iter()
        .filter_map(|id| usable(id))
        .collect();
    if rules.authorization.room_create_event_id_as_room_id {
        let create = EventId::parse(format!("${}", pdu.room_id().strip_sigil())).ok();
        events.extend(create.and_then(|id| usable(&id)));
    }
    move |event_type, state_key| {
        let wanted = |pdu: &&Pdu| {
            pdu.state_key() == Some(state_key)
                && *pdu.event_type() == TimelineEventType::from(event_type.clone())
        };
        events.iter().find(wanted).cloned()
    }
}

impl Judged {
    fn pdu(&self) -> &Pdu {
        match self {
            Self::Usable(pdu) | Self::Rejected(pdu) => pdu,
        }
    }
}

impl Event for Judged {
    type Id = OwnedEventId;

    fn event_id(&self) -> &Self::Id {
        Event::event_id(self.pdu())
    }

    fn room_id(&self) -> Option<&RoomId> {
        Event::room_id(self.pdu())
    }

    fn sender(&self) -> &UserId {
        self.pdu().sender()
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        self.pdu().origin_server_ts()
    }

    fn event_type(&self) -> &TimelineEventType {
        self.pdu().event_type()
    }

    fn content(&self) -> &RawJsonValue {
        self.pdu().content()
    }

    fn state_key(&self) -> Option<&str> {
        self.pdu().state_key()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Event::prev_events(self.pdu())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Event::auth_events(self.pdu())
    }

    fn redacts(&self) -> Option<&Self::Id> {
        Event::redacts(self.pdu())
    }

    fn rejected(&self) -> bool {
        matches!(self, Self::Rejected(_))
    }
}
