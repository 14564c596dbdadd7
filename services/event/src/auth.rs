//! Authorization of events ([spec]), over ruma's rules.
//!
//! Invariant: accepted, soft-failed and rejected events are different types; whoever asks for an
//! [`Accepted`] cannot be handed another.
//!
//! [spec]: https://spec.matrix.org/v1.16/server-server-api/#authorization-rules

use ruma::{
    EventId, UserId,
    events::{StateEventType, TimelineEventType},
    room_version_rules::RoomVersionRules,
    state_res,
};
use serde_json::value::RawValue as RawJsonValue;

use crate::pdu::Pdu;

mod verdict;

pub use self::verdict::{
    Accepted, Judged, Rejected, SoftFailed, Verdict, check_by_auth_events, judge,
};

/// The auth rules refuse the event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct AuthRejected {
    /// The rule, in ruma's words; fit for a client's `M_FORBIDDEN`.
    pub reason: String,
}

/// The event says too little to tell which state authorises it (`M_BAD_JSON`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct AuthTypesError {
    /// What is missing, in ruma's words.
    pub reason: String,
}

/// Which state authorises an event of this kind: the auth events selection algorithm.
pub fn auth_types(
    event_type: &TimelineEventType,
    sender: &UserId,
    state_key: Option<&str>,
    content: &RawJsonValue,
    rules: &RoomVersionRules,
) -> Result<Vec<(StateEventType, String)>, AuthTypesError> {
    state_res::auth_types_for_event(event_type, sender, state_key, content, &rules.authorization)
        .map_err(|reason| AuthTypesError { reason })
}

/// Which state authorises this event.
pub fn auth_types_of(
    pdu: &Pdu,
    rules: &RoomVersionRules,
) -> Result<Vec<(StateEventType, String)>, AuthTypesError> {
    auth_types(
        pdu.event_type(),
        pdu.sender(),
        pdu.state_key(),
        pdu.content(),
        rules,
    )
}

/// Checks an event against a state of its room. `fetch_state` must answer from one state; what it
/// is asked for beyond [`auth_types_of`] is the create event, in every room version.
///
/// Signatures were checked before. For create events this is the whole check.
pub fn check_auth(
    pdu: &Pdu,
    rules: &RoomVersionRules,
    fetch_state: impl Fn(&StateEventType, &str) -> Option<Pdu>,
) -> Result<(), AuthRejected> {
    let rejected = |reason| AuthRejected { reason };
    if *pdu.event_type() == TimelineEventType::RoomCreate {
        let nothing = |_: &EventId| None::<Pdu>;
        let rules = &rules.authorization;
        return state_res::check_state_independent_auth_rules(rules, pdu, nothing)
            .map_err(rejected);
    }
    state_res::check_state_dependent_auth_rules(&rules.authorization, pdu, fetch_state)
        .map_err(rejected)
}

/// Checks the list of an event's auth events: all known, of its room, accepted, expected, and none
/// twice. Once per received event; events built here have the right list by construction.
pub fn check_auth_events(
    pdu: &Pdu,
    rules: &RoomVersionRules,
    fetch_event: impl Fn(&EventId) -> Option<Judged>,
) -> Result<(), AuthRejected> {
    state_res::check_state_independent_auth_rules(&rules.authorization, pdu, fetch_event)
        .map_err(|reason| AuthRejected { reason })
}

#[cfg(test)]
mod tests;
