//! From an accepted event to its log entry, and the memory of the room after it.

use hanse_event::Pdu;
use hanse_proto::{
    log::{Entry, Relay, entry::Kind},
    room::{
        Event, EventStatus, Membership, Redacted, Relation, RoomEntry, StateChange, Transaction,
        room_entry,
    },
    user::{MembershipNotice, UserEntry, user_entry},
};
use ruma::{OwnedUserId, ServerName, UserId};
use serde::Deserialize;

use crate::{DEPTH_BUCKET_BITS, EVENTS_PER_BUCKET, hot::Hot, stripped, tables::TransactionKey};

/// How long a transaction id is remembered.
const TRANSACTION_TTL_MS: i64 = 7 * 24 * 60 * 60 * 1_000;

/// What an entry needs besides the event and the room.
pub(crate) struct Circumstances<'a> {
    pub(crate) now_ms: i64,
    pub(crate) server_name: &'a ServerName,
    pub(crate) transaction: Option<TransactionKey>,
    pub(crate) redacted: Option<Redacted>,
}

impl Hot {
    /// Takes an accepted event into the room's memory and writes its entry.
    pub(crate) fn accept(&mut self, pdu: &Pdu, circumstances: Circumstances<'_>) -> Entry {
        let Circumstances {
            now_ms,
            server_name,
            transaction,
            redacted,
        } = circumstances;
        let state = self.state_change(pdu, server_name);
        let relays = state
            .as_ref()
            .and_then(|state| self.notice(state))
            .into_iter()
            .collect();
        let (depth_before, events_before) = (self.head.depth, self.head.events);
        self.advance(pdu, state.as_ref());
        let depth = pdu.depth() as i64;
        let depth_bucket = depth >> DEPTH_BUCKET_BITS;
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
            depth_bucket,
            opens_depth_bucket: events_before == 0
                || depth_before >> DEPTH_BUCKET_BITS != depth_bucket,
        };
        if let Some(key) = transaction {
            self.remember(key, pdu.event_id().to_owned());
        }
        let room_id = self.room_id.to_string();
        let kind = Some(room_entry::Kind::Event(event));
        Entry {
            decided_at_ms: now_ms,
            relays,
            kind: Some(Kind::Room(RoomEntry { room_id, kind })),
            ..Entry::default()
        }
    }

    fn state_change(&self, pdu: &Pdu, server_name: &ServerName) -> Option<StateChange> {
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
        let member = state
            .membership
            .as_ref()
            .filter(|m| m.local && m.membership != m.previous)?;
        let notice = MembershipNotice {
            room_id: self.room_id.to_string(),
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

    fn advance(&mut self, pdu: &Pdu, state: Option<&StateChange>) {
        let head = &mut self.head;
        head.bucket = head.events / EVENTS_PER_BUCKET;
        head.events += 1;
        head.depth = head.depth.max(pdu.depth() as i64);
        head.forward_extremities = vec![pdu.event_id().to_string()];
        if let Some(member) = state.and_then(|state| state.membership.as_ref()) {
            let moved =
                |to: &str| i64::from(member.membership == to) - i64::from(member.previous == to);
            head.joined_members += moved("join");
            head.invited_members += moved("invite");
        }
        if let Some(state_key) = pdu.state_key() {
            let (event_type, state_key) = (pdu.type_name().to_owned(), state_key.to_owned());
            self.hold(event_type, state_key, Some(pdu.clone()));
        }
    }
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
fn relation(pdu: &Pdu) -> Option<Relation> {
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
