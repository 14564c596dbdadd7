//! From an accepted event to its log entry, and the memory of the room after it.

use hanse_event::Pdu;
use hanse_proto::{
    log::{Entry, Relay, entry::Kind},
    room::{
        Event, EventState, EventStatus, Membership, Relation, RoomEntry, StateChange,
        StateResolved, Transaction, room_entry,
    },
    user::{MembershipNotice, UserEntry, user_entry},
};
use ruma::{OwnedUserId, RoomId, ServerName, UserId};
use serde::Deserialize;

use crate::{
    DEPTH_BUCKET_BITS, EVENTS_PER_BUCKET, hot::Hot, redact::Effect, stripped,
    tables::TransactionKey,
};

/// How long a transaction id is remembered.
const TRANSACTION_TTL_MS: i64 = 7 * 24 * 60 * 60 * 1_000;

/// What an entry needs besides the event and the room.
pub(crate) struct Circumstances<'a> {
    pub(crate) now_ms: i64,
    pub(crate) server_name: &'a ServerName,
    pub(crate) transaction: Option<TransactionKey>,
    pub(crate) effect: Effect,
}

/// Where an accepted event goes.
pub(crate) struct Place {
    /// What it changes of the current state, being in it from now on.
    pub(crate) state: Option<StateChange>,
    /// The room's forward extremities after it.
    pub(crate) forward_extremities: Vec<String>,
    /// Its state, unless that is the current one.
    pub(crate) event_state: Option<EventState>,
    /// Whether it is the first of its depth bucket.
    pub(crate) opens_depth_bucket: bool,
}

/// A key of the current state that gets another value than that of an event just accepted.
pub(crate) struct Resolved<'a> {
    pub(crate) event_type: &'a str,
    pub(crate) state_key: &'a str,
    /// The event that holds it from now on.
    pub(crate) value: Option<Pdu>,
    /// The one that held it.
    pub(crate) previous: Option<Pdu>,
}

impl Hot {
    /// Takes an accepted event into the room's memory, at the room's end, and writes its entry.
    pub(crate) fn accept(&mut self, pdu: &Pdu, circumstances: Circumstances<'_>) -> Entry {
        let depth_bucket = |depth: i64| depth >> DEPTH_BUCKET_BITS;
        let place = Place {
            state: self.state_change(pdu, circumstances.server_name),
            forward_extremities: vec![pdu.event_id().to_string()],
            event_state: None,
            opens_depth_bucket: self.head.events == 0
                || depth_bucket(self.head.depth) != depth_bucket(pdu.depth() as i64),
        };
        self.accept_at(pdu, place, circumstances)
    }

    /// The same, wherever in the graph it goes.
    pub(crate) fn accept_at(
        &mut self,
        pdu: &Pdu,
        place: Place,
        circumstances: Circumstances<'_>,
    ) -> Entry {
        let Circumstances {
            now_ms,
            transaction,
            effect,
            ..
        } = circumstances;
        let (redacted, awaited_target) = effect.recorded();
        let state = place.state;
        let relays = state
            .as_ref()
            .and_then(|state| self.notice(state))
            .into_iter()
            .collect();
        let events_before = self.head.events;
        self.advance(pdu, state.as_ref(), place.forward_extremities);
        let depth = pdu.depth() as i64;
        let event = Event {
            event_id: pdu.event_id().to_string(),
            json: pdu.json().to_owned(),
            status: EventStatus::Accepted.into(),
            depth,
            state,
            head: Some(self.head.clone()),
            transaction: transaction.clone().map(|key| transaction_of(key, now_ms)),
            redacted,
            relation: relation(pdu),
            bucket: self.head.bucket,
            opens_bucket: events_before % EVENTS_PER_BUCKET == 0,
            depth_bucket: depth >> DEPTH_BUCKET_BITS,
            opens_depth_bucket: place.opens_depth_bucket,
            event_state: place.event_state,
            awaited_target,
            ..Event::default()
        };
        if let Some(key) = transaction {
            self.remember(key, pdu.event_id().to_owned());
        }
        self.entry(now_ms, relays, room_entry::Kind::Event(event))
    }

    /// Writes the entry of an event that is kept and not shown. The room's memory stays as it is.
    pub(crate) fn hide(
        &self,
        pdu: &Pdu,
        (status, reason): (EventStatus, String),
        event_state: EventState,
        now_ms: i64,
    ) -> Entry {
        let event = Event {
            event_id: pdu.event_id().to_string(),
            json: pdu.json().to_owned(),
            status: status.into(),
            depth: pdu.depth() as i64,
            event_state: Some(event_state),
            reason,
            ..Event::default()
        };
        self.entry(now_ms, Vec::new(), room_entry::Kind::Event(event))
    }

    /// Gives a key of the current state another value, and writes the entry, without the head.
    pub(crate) fn resolve(
        &mut self,
        resolved: Resolved<'_>,
        circumstances: &Circumstances<'_>,
    ) -> Entry {
        let Resolved {
            event_type,
            state_key,
            value,
            previous,
        } = resolved;
        let server_name = circumstances.server_name;
        let id = |pdu: &Option<Pdu>| pdu.as_ref().map(|pdu| pdu.event_id().to_string());
        let membership = match &value {
            Some(pdu) => self.membership_change(pdu, state_key, previous.as_ref(), server_name),
            None => lost_membership(event_type, state_key, previous.as_ref(), server_name),
        };
        let change = StateChange {
            event_type: event_type.to_owned(),
            state_key: state_key.to_owned(),
            previous_event_id: id(&previous).unwrap_or_default(),
            membership,
        };
        let relays = self.notice(&change).into_iter().collect();
        self.count(Some(&change));
        let event_id = id(&value).unwrap_or_default();
        self.hold(event_type.to_owned(), state_key.to_owned(), value);
        let resolved = StateResolved {
            change: Some(change),
            event_id,
            bucket: self.head.bucket,
            head: None,
        };
        let kind = room_entry::Kind::StateResolved(resolved);
        self.entry(circumstances.now_ms, relays, kind)
    }

    pub(crate) fn entry(
        &self,
        decided_at_ms: i64,
        relays: Vec<Relay>,
        kind: room_entry::Kind,
    ) -> Entry {
        room_entry_of(&self.room_id, decided_at_ms, relays, kind)
    }

    pub(crate) fn state_change(&self, pdu: &Pdu, server_name: &ServerName) -> Option<StateChange> {
        let state_key = pdu.state_key()?;
        let previous = self.state(pdu.type_name(), state_key);
        Some(StateChange {
            event_type: pdu.type_name().to_owned(),
            state_key: state_key.to_owned(),
            previous_event_id: previous
                .map(|p| p.event_id().to_string())
                .unwrap_or_default(),
            membership: self.membership_change(pdu, state_key, previous, server_name),
        })
    }

    fn membership_change(
        &self,
        pdu: &Pdu,
        state_key: &str,
        previous: Option<&Pdu>,
        server_name: &ServerName,
    ) -> Option<Membership> {
        let membership = pdu.membership()?.to_string();
        let user: OwnedUserId = state_key.try_into().ok()?;
        let local = user.server_name() == server_name;
        let shows_room = local && matches!(membership.as_str(), "invite" | "knock");
        Some(Membership {
            previous: previous
                .and_then(Pdu::membership)
                .map(|m| m.to_string())
                .unwrap_or_default(),
            local,
            stripped_state: if shows_room {
                stripped::of(self, pdu)
            } else {
                String::new()
            },
            membership,
        })
    }

    /// Tells the user's own slot of a local membership that changed.
    fn notice(&self, state: &StateChange) -> Option<Relay> {
        notice_of(&self.room_id, state)
    }

    fn advance(
        &mut self,
        pdu: &Pdu,
        state: Option<&StateChange>,
        forward_extremities: Vec<String>,
    ) {
        let head = &mut self.head;
        head.bucket = head.events / EVENTS_PER_BUCKET;
        head.events += 1;
        head.depth = head.depth.max(pdu.depth() as i64);
        head.forward_extremities = forward_extremities;
        self.count(state);
        if let Some(change) = state {
            let (event_type, state_key) = (change.event_type.clone(), change.state_key.clone());
            self.vouch_for(pdu.event_id());
            self.hold(event_type, state_key, Some(pdu.clone()));
        }
        self.keep_ends(pdu);
    }

    /// Counts who comes and goes.
    fn count(&mut self, change: Option<&StateChange>) {
        let Some(member) = change.and_then(|change| change.membership.as_ref()) else {
            return;
        };
        let moved =
            |to: &str| i64::from(member.membership == to) - i64::from(member.previous == to);
        self.head.joined_members += moved("join");
        self.head.invited_members += moved("invite");
        if member.local {
            self.head.local_members += moved("join");
        }
    }
}

/// Tells the user's own slot of a local membership that changed.
pub(crate) fn notice_of(room_id: &RoomId, state: &StateChange) -> Option<Relay> {
    let member = state
        .membership
        .as_ref()
        .filter(|m| m.local && m.membership != m.previous)?;
    let notice = MembershipNotice {
        room_id: room_id.to_string(),
        membership: member.membership.clone(),
    };
    let user = UserEntry {
        user_id: state.state_key.clone(),
        kind: Some(user_entry::Kind::Membership(notice)),
    };
    let entry = Entry {
        kind: Some(Kind::User(user)),
        ..Entry::default()
    };
    Some(Relay {
        key: state.state_key.clone(),
        entry: Some(entry),
    })
}

/// An entry of a room.
pub(crate) fn room_entry_of(
    room_id: &RoomId,
    decided_at_ms: i64,
    relays: Vec<Relay>,
    kind: room_entry::Kind,
) -> Entry {
    let room = RoomEntry {
        room_id: room_id.to_string(),
        kind: Some(kind),
    };
    Entry {
        decided_at_ms,
        relays,
        kind: Some(Kind::Room(room)),
        ..Entry::default()
    }
}

/// What becomes of a membership that no event holds any more.
fn lost_membership(
    event_type: &str,
    state_key: &str,
    previous: Option<&Pdu>,
    server_name: &ServerName,
) -> Option<Membership> {
    if event_type != "m.room.member" {
        return None;
    }
    let user: OwnedUserId = state_key.try_into().ok()?;
    let previous = previous.and_then(Pdu::membership);
    Some(Membership {
        membership: "leave".to_owned(),
        previous: previous.map(|m| m.to_string()).unwrap_or_default(),
        local: is_local(&user, server_name),
        stripped_state: String::new(),
    })
}

fn transaction_of(key: TransactionKey, now_ms: i64) -> Transaction {
    let TransactionKey {
        user_id,
        device_id,
        scope,
        txn_id,
    } = key;
    let expires_at_ms = now_ms + TRANSACTION_TTL_MS;
    Transaction {
        user_id,
        device_id,
        scope,
        txn_id,
        expires_at_ms,
    }
}

/// The relation that an event's content names, if it names a target.
pub(crate) fn relation(pdu: &Pdu) -> Option<Relation> {
    #[derive(Deserialize)]
    struct Content {
        #[serde(rename = "m.relates_to")]
        relates_to: RelatesTo,
    }
    #[derive(Deserialize)]
    struct RelatesTo {
        rel_type: String,
        event_id: String,
    }
    if !pdu.content().get().contains("m.relates_to") {
        return None;
    }
    let Content { relates_to } = pdu.content_as().ok()?;
    Some(Relation {
        event_id: relates_to.event_id,
        rel_type: relates_to.rel_type,
    })
}

/// Whether a user is one of this server's.
pub(crate) fn is_local(user_id: &UserId, server_name: &ServerName) -> bool {
    user_id.server_name() == server_name
}
