//! Servers elsewhere, which build events on what they know and send them when they like.

use std::collections::BTreeMap;

use hanse_event::{
    Draft, Pdu, Placement, Received, ServerKey, build, build_create, content_of, room_version,
};
use hanse_room::{Fate, Rooms};
use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, RoomVersionId, UInt,
    events::StateEventType, room_version_rules::RoomVersionRules, signatures::PublicKeyMap,
};
use serde_json::{Value, json};

/// Who creates the rooms, at level 100.
pub(crate) const REM: &str = "@rem:a.test";
/// Who moderates, at level 50.
pub(crate) const MOD: &str = "@mod:b.test";

/// A point in a room's graph, as a server knows it.
#[derive(Clone, Default)]
pub(crate) struct Branch {
    ends: Vec<OwnedEventId>,
    depth: u64,
    state: BTreeMap<(StateEventType, String), OwnedEventId>,
}

impl Branch {
    /// The room after both: with this branch's state, and over it these events of the other.
    pub(crate) fn merged(&self, other: &Self, over: &[&OwnedEventId]) -> Self {
        let mut merged = self.clone();
        merged.ends.extend(other.ends.clone());
        merged.depth = self.depth.max(other.depth);
        let won = other.state.iter().filter(|(_, id)| over.contains(id));
        merged
            .state
            .extend(won.map(|(k, id)| (k.clone(), id.clone())));
        merged
    }
}

/// A room that servers elsewhere made, and its branches by name.
pub(crate) struct Elsewhere {
    pub(crate) room_id: OwnedRoomId,
    pub(crate) branches: BTreeMap<&'static str, Branch>,
    rules: &'static RoomVersionRules,
    key: ServerKey,
    keys: PublicKeyMap,
    create: Option<Received>,
}

impl Elsewhere {
    /// A room with nothing but its create event, not sent yet.
    pub(crate) fn begin(version: &RoomVersionId) -> Self {
        let key = ServerKey::generate([7; 32], "a").unwrap();
        let set = BTreeMap::from([(key.key_id().to_owned(), key.public_key())]);
        let servers = ["a.test", "b.test", "c.test", "hanse.test"];
        let keys: PublicKeyMap = servers.map(|s| (s.to_owned(), set.clone())).into();
        let rules = room_version::rules(version).unwrap();
        let localpart = format!("room{}", ruma::TransactionId::new());
        // From version 12 on the room's id comes from the create event.
        let draft = state(REM, "m.room.create", "", &json!({ "n": localpart }));
        let create = build_create(draft, version, &localpart, time(0), &key).unwrap();
        let mut elsewhere = Self {
            room_id: create.room_id().to_owned(),
            branches: BTreeMap::from([("main", Branch::default())]),
            rules,
            key,
            keys,
            create: None,
        };
        elsewhere.create = Some(elsewhere.received(&create));
        elsewhere.advance("main", &create);
        elsewhere
    }

    /// Sends the create event; gives its id.
    pub(crate) async fn send_create(&mut self, rooms: &Rooms) -> OwnedEventId {
        let create = self.create.take().unwrap();
        let id = create.pdu.event_id().to_owned();
        assert_eq!(receive(rooms, create).await, Fate::Accepted);
        id
    }

    /// Builds an event on a branch and sends it; gives its id and what became of it.
    pub(crate) async fn send(
        &mut self,
        rooms: &Rooms,
        branch: &'static str,
        draft: Draft,
        ts: u32,
    ) -> (OwnedEventId, Fate) {
        let on = &self.branches[branch];
        let keys = draft.auth_types(self.rules).unwrap();
        let place = Placement {
            room_id: self.room_id.clone(),
            rules: self.rules,
            prev_events: on.ends.clone(),
            auth_events: keys
                .iter()
                .filter_map(|k| on.state.get(k).cloned())
                .collect(),
            depth: on.depth + 1,
            origin_server_ts: time(ts),
            reference_hashes: BTreeMap::new(),
        };
        let pdu = build(draft, place, &self.key).unwrap();
        self.advance(branch, &pdu);
        let fate = receive(rooms, self.received(&pdu)).await;
        (pdu.event_id().to_owned(), fate)
    }

    fn received(&self, pdu: &Pdu) -> Received {
        let received = Pdu::receive(pdu.json().as_bytes(), self.rules).unwrap();
        received.verify(&self.keys).unwrap()
    }

    fn advance(&mut self, branch: &'static str, pdu: &Pdu) {
        let branch = self.branches.get_mut(branch).unwrap();
        branch.ends = vec![pdu.event_id().to_owned()];
        branch.depth = pdu.depth();
        if let Some(state_key) = pdu.state_key() {
            let key = (pdu.type_name().into(), state_key.to_owned());
            branch.state.insert(key, pdu.event_id().to_owned());
        }
    }

    /// Whether creators stand above all levels, and may not be listed.
    pub(crate) fn creators_are_above(&self) -> bool {
        self.rules.authorization.explicitly_privilege_room_creators
    }
}

async fn receive(rooms: &Rooms, event: Received) -> Fate {
    let room_id = event.pdu.room_id().to_owned();
    let arrived = Box::pin(rooms.receive(&room_id, vec![event]))
        .await
        .unwrap();
    arrived.into_iter().next().unwrap().fate
}

pub(crate) fn state(sender: &str, event_type: &str, state_key: &str, content: &Value) -> Draft {
    let content = content_of(content).unwrap();
    Draft::state(sender.try_into().unwrap(), event_type, state_key, content)
}

pub(crate) fn message(sender: &str) -> Draft {
    let content = content_of(&json!({ "msgtype": "m.text", "body": "hello" })).unwrap();
    Draft::message(sender.try_into().unwrap(), "m.room.message", content)
}

fn time(ms: u32) -> MilliSecondsSinceUnixEpoch {
    MilliSecondsSinceUnixEpoch(UInt::from(ms))
}
