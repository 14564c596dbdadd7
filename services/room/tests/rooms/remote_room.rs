//! A room of other servers, and what they answer to a join of one of our users.

use std::collections::BTreeMap;

use hanse_event::{Draft, Pdu, Placement, Received, ServerKey, build, build_create, content_of};
use hanse_room::{Installed, RoomError, Rooms, Staged};
use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedUserId, RoomId, RoomVersionId, UserId,
    room_version_rules::RoomVersionRules, signatures::PublicKeyMap,
};
use serde_json::{Value, json};

const SERVERS: [&str; 3] = ["a.test", "b.test", "hanse.test"];

/// A linear room; whoever is allowed to do what is for its author to know.
pub(crate) struct RemoteRoom {
    pub(crate) version: RoomVersionId,
    pub(crate) events: Vec<Pdu>,
    pub(crate) state: BTreeMap<(String, String), Pdu>,
    rules: &'static RoomVersionRules,
    key: ServerKey,
    keys: PublicKeyMap,
}

pub(crate) fn remote(name: &str) -> OwnedUserId {
    format!("@{name}:a.test").try_into().unwrap()
}

impl RemoteRoom {
    /// A public room of Zoe's.
    pub(crate) fn new(version: RoomVersionId) -> Self {
        let key = ServerKey::generate([7; 32], "a").unwrap();
        let set = BTreeMap::from([(key.key_id().to_owned(), key.public_key())]);
        let keys = SERVERS.map(|server| (server.to_owned(), set.clone()));
        let rules = hanse_event::room_version::rules(&version).unwrap();
        let zoe = remote("zoe");
        let content = content_of(&json!({})).unwrap();
        let draft = Draft::state(zoe.clone(), "m.room.create", "", content);
        let create = build_create(draft, &version, "elsewhere", ts(1), &key).unwrap();
        let mut room = Self {
            version,
            events: Vec::new(),
            state: BTreeMap::new(),
            rules,
            key,
            keys: keys.into(),
        };
        room.keep(create);
        room.member(&zoe, &zoe, "join");
        let above = rules.authorization.explicitly_privilege_room_creators;
        let users = if above {
            json!({})
        } else {
            json!({ zoe: 100 })
        };
        let (zoe, levels) = (remote("zoe"), json!({ "users": users }));
        room.set(&zoe, ("m.room.power_levels", ""), &levels);
        let public = json!({ "join_rule": "public" });
        room.set(&zoe, ("m.room.join_rules", ""), &public);
        room
    }

    pub(crate) fn room_id(&self) -> &RoomId {
        self.events[0].room_id()
    }

    pub(crate) fn set(
        &mut self,
        sender: &UserId,
        (event_type, state_key): (&str, &str),
        content: &Value,
    ) -> Pdu {
        let content = content_of(content).unwrap();
        let draft = Draft::state(sender.to_owned(), event_type, state_key, content);
        let pdu = self.build(draft);
        self.keep(pdu.clone());
        pdu
    }

    pub(crate) fn member(&mut self, sender: &UserId, target: &UserId, membership: &str) -> Pdu {
        let content = json!({ "membership": membership });
        self.set(sender, ("m.room.member", target.as_str()), &content)
    }

    /// So many members, each with an event of some size.
    pub(crate) fn members(&mut self, count: usize, bytes: usize) {
        for number in 0..count {
            let user = remote(&format!("member{number}"));
            let content = json!({ "membership": "join", "displayname": "x".repeat(bytes) });
            self.set(&user, ("m.room.member", user.as_str()), &content);
        }
    }

    /// An event at the room's end, signed by whoever sends it.
    pub(crate) fn build(&self, draft: Draft) -> Pdu {
        let last = self.events.last().unwrap();
        let wanted = draft.auth_types(self.rules).unwrap();
        let held = wanted
            .iter()
            .filter_map(|(event_type, key)| self.state.get(&(event_type.to_string(), key.clone())));
        let place = Placement {
            room_id: last.room_id().to_owned(),
            rules: self.rules,
            prev_events: vec![last.event_id().to_owned()],
            auth_events: held.map(|pdu| pdu.event_id().to_owned()).collect(),
            depth: last.depth() + 1,
            origin_server_ts: ts(1_000 + last.depth()),
            reference_hashes: BTreeMap::new(),
        };
        build(draft, place, &self.key).unwrap()
    }

    /// The join of one of our users at the room's end.
    pub(crate) fn joined(&self, user: &UserId) -> Pdu {
        let content = content_of(&json!({ "membership": "join" })).unwrap();
        self.build(Draft::state(
            user.to_owned(),
            "m.room.member",
            user.as_str(),
            content,
        ))
    }

    pub(crate) fn keep(&mut self, pdu: Pdu) {
        if let Some(state_key) = pdu.state_key() {
            let key = (pdu.type_name().to_owned(), state_key.to_owned());
            self.state.insert(key, pdu.clone());
        }
        self.events.push(pdu);
    }

    pub(crate) fn state_ids(&self) -> BTreeMap<(String, String), OwnedEventId> {
        let ids = self.state.iter();
        ids.map(|(key, pdu)| (key.clone(), pdu.event_id().to_owned()))
            .collect()
    }

    /// As it comes over the wire.
    pub(crate) fn received(&self, pdu: &Pdu) -> Received {
        let unverified = Pdu::receive(pdu.json().as_bytes(), self.rules).unwrap();
        unverified.verify(&self.keys).unwrap()
    }

    /// Stages the state, and everything else as behind it.
    pub(crate) async fn staged(&self, rooms: &Rooms) -> Staged {
        let mut staging = rooms.stage(self.room_id(), self.version.clone());
        let (state, behind): (Vec<&Pdu>, Vec<&Pdu>) = self.events.iter().partition(|pdu| {
            let key = pdu
                .state_key()
                .map(|key| (pdu.type_name().to_owned(), key.to_owned()));
            key.is_some_and(|key| self.state.get(&key) == Some(*pdu))
        });
        // The last first: their order is nobody's to rely on.
        for some in state.chunks(hanse_room::RECEIVED_MAX).rev() {
            let some = some.iter().rev().map(|pdu| self.received(pdu));
            staging.add_state(some.collect()).await.unwrap();
        }
        for some in behind.chunks(hanse_room::RECEIVED_MAX).rev() {
            let some = some.iter().rev().map(|pdu| self.received(pdu));
            staging.add_auth_chain(some.collect()).await.unwrap();
        }
        staging.done()
    }

    /// Joins, as the room stands.
    pub(crate) async fn install(&self, rooms: &Rooms, join: &Pdu) -> Result<Installed, RoomError> {
        let staged = self.staged(rooms).await;
        rooms.install(&staged, join.clone()).await
    }
}

fn ts(ms: u64) -> MilliSecondsSinceUnixEpoch {
    MilliSecondsSinceUnixEpoch(ms.try_into().unwrap())
}
