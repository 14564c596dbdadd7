//! A room in memory, built event by event, for this crate's tests.

use std::{borrow::Borrow, collections::BTreeMap};

use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedUserId, RoomVersionId, UInt,
    events::StateEventType, room_version_rules::RoomVersionRules, signatures::PublicKeyMap,
    state_res::StateMap,
};
use serde_json::{Value, json};

use crate::{
    Draft, Judged, Pdu, Placement, ServerKey, build, build_create, check_auth, content_of,
};

pub(crate) const ALICE: &str = "@alice:example.org";
pub(crate) const BOB: &str = "@bob:example.org";

pub(crate) fn user(id: &str) -> OwnedUserId {
    id.try_into().unwrap()
}

pub(crate) fn key() -> ServerKey {
    ServerKey::generate([7; 32], "a_test").unwrap()
}

pub(crate) fn keys() -> PublicKeyMap {
    let key = key();
    let set = BTreeMap::from([(key.key_id().to_owned(), key.public_key())]);
    BTreeMap::from([("example.org".to_owned(), set)])
}

pub(crate) fn ts(millis: u32) -> MilliSecondsSinceUnixEpoch {
    MilliSecondsSinceUnixEpoch(UInt::from(millis))
}

pub(crate) fn message(sender: &str, content: impl Borrow<Value>) -> Draft {
    Draft::message(
        user(sender),
        "m.room.message",
        content_of(content.borrow()).unwrap(),
    )
}

pub(crate) fn state(
    sender: &str,
    event_type: &str,
    state_key: &str,
    content: impl Borrow<Value>,
) -> Draft {
    Draft::state(
        user(sender),
        event_type,
        state_key,
        content_of(content.borrow()).unwrap(),
    )
}

pub(crate) fn member(sender: &str, target: &str, membership: &str) -> Draft {
    state(
        sender,
        "m.room.member",
        target,
        json!({ "membership": membership }),
    )
}

/// A linear room: what it has accepted so far, and its state.
pub(crate) struct Room {
    pub(crate) rules: &'static RoomVersionRules,
    pub(crate) events: Vec<Pdu>,
    pub(crate) state: BTreeMap<(String, String), Pdu>,
    pub(crate) key: ServerKey,
    hashes: BTreeMap<OwnedEventId, String>,
}

impl Room {
    /// A room of Alice's with her in it, power levels and an invite-only join rule.
    pub(crate) fn new(version: &RoomVersionId) -> Self {
        Self::only_created(version, "abcdefghijklmnopqr").furnished()
    }

    pub(crate) fn furnished(self) -> Self {
        let mut room = self;
        room.send(member(ALICE, ALICE, "join"));
        let creators_are_above = room.rules.authorization.explicitly_privilege_room_creators;
        let users = if creators_are_above {
            json!({})
        } else {
            json!({ ALICE: 100 })
        };
        room.send(state(
            ALICE,
            "m.room.power_levels",
            "",
            json!({ "users": users }),
        ));
        room.send(state(
            ALICE,
            "m.room.join_rules",
            "",
            json!({ "join_rule": "public" }),
        ));
        room
    }

    pub(crate) fn only_created(version: &RoomVersionId, localpart: &str) -> Self {
        let key = key();
        let rules = crate::room_version::rules(version).unwrap();
        let draft = state(ALICE, "m.room.create", "", json!({ "x": localpart }));
        let create = build_create(draft, version, localpart, ts(1), &key).unwrap();
        let mut room = Self {
            rules,
            events: Vec::new(),
            state: BTreeMap::new(),
            key,
            hashes: BTreeMap::new(),
        };
        check_auth(&create, rules, |_, _| None).unwrap();
        room.keep(create);
        room
    }

    pub(crate) fn get(&self, event_type: &StateEventType, state_key: &str) -> Option<Pdu> {
        self.state
            .get(&(event_type.to_string(), state_key.to_owned()))
            .cloned()
    }

    pub(crate) fn place(&self, draft: &Draft) -> Placement<'static> {
        let last = self.events.last().unwrap();
        let wanted = draft.auth_types(self.rules).unwrap();
        let auth = wanted
            .iter()
            .filter_map(|(event_type, key)| self.get(event_type, key));
        Placement {
            room_id: last.room_id().to_owned(),
            rules: self.rules,
            prev_events: vec![last.event_id().to_owned()],
            auth_events: auth.map(|pdu| pdu.event_id().to_owned()).collect(),
            depth: last.depth() + 1,
            origin_server_ts: ts(1_000 + self.events.len() as u32),
            reference_hashes: self.hashes.clone(),
        }
    }

    /// Builds without asking the auth rules.
    pub(crate) fn build(&self, draft: Draft) -> Pdu {
        let place = self.place(&draft);
        build(draft, place, &self.key).unwrap()
    }

    pub(crate) fn allows(&self, pdu: &Pdu) -> Result<(), crate::AuthRejected> {
        check_auth(pdu, self.rules, |event_type, key| self.get(event_type, key))
    }

    /// Builds, checks and keeps.
    pub(crate) fn send(&mut self, draft: Draft) -> Pdu {
        let pdu = self.build(draft);
        self.allows(&pdu).unwrap();
        self.keep(pdu.clone());
        pdu
    }

    pub(crate) fn keep(&mut self, pdu: Pdu) {
        let hash = pdu.reference_hash(self.rules).unwrap();
        self.hashes.insert(pdu.event_id().to_owned(), hash);
        if let Some(state_key) = pdu.state_key() {
            let address = (pdu.type_name().to_owned(), state_key.to_owned());
            self.state.insert(address, pdu.clone());
        }
        self.events.push(pdu);
    }

    pub(crate) fn event(&self, id: &ruma::EventId) -> Option<Judged> {
        let found = self.events.iter().find(|pdu| pdu.event_id() == id);
        found.cloned().map(Judged::Usable)
    }

    /// The same room, to go on differently.
    pub(crate) fn fork(&self) -> Self {
        let (events, state, hashes) =
            (self.events.clone(), self.state.clone(), self.hashes.clone());
        Self {
            rules: self.rules,
            events,
            state,
            key: key(),
            hashes,
        }
    }

    pub(crate) fn state_map(&self) -> StateMap<OwnedEventId> {
        let entry = |((event_type, key), pdu): (&(String, String), &Pdu)| {
            (
                (event_type.as_str().into(), key.clone()),
                pdu.event_id().to_owned(),
            )
        };
        self.state.iter().map(entry).collect()
    }
}
