//! Another server's side of a room: events that it makes, whatever we know of them.

use std::collections::BTreeMap;

use hanse_event::{
    Draft, Integrity, Pdu, Placement, Received, ServerKey, build, build_create, content_of,
    room_version,
};
use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomVersionId, UInt,
    room_version_rules::RoomVersionRules,
};
use serde_json::{Value, json};

/// Where a branch of the graph stands: its last event, and the state after it.
#[derive(Clone)]
pub(crate) struct Branch {
    pub(crate) room: OwnedRoomId,
    pub(crate) last: Pdu,
    pub(crate) state: BTreeMap<(String, String), OwnedEventId>,
    rules: &'static RoomVersionRules,
}

impl Branch {
    /// A public room with its creator in it, and the events that made it.
    pub(crate) fn new(creator: &OwnedUserId) -> (Self, Vec<Received>) {
        let version = RoomVersionId::V11;
        let rules = room_version::rules(&version).unwrap();
        let create = state(creator, "m.room.create", "", &json!({}));
        let create = build_create(create, &version, "elsewhere", time(1), &key()).unwrap();
        let mut branch = Self {
            room: create.room_id().to_owned(),
            state: BTreeMap::new(),
            last: create.clone(),
            rules,
        };
        branch.keep(&create);
        let mut events = vec![received(&create)];
        let levels = json!({ "users": { creator.as_str(): 100 } });
        for draft in [
            member(creator, "join"),
            state(creator, "m.room.power_levels", "", &levels),
            state(
                creator,
                "m.room.join_rules",
                "",
                &json!({ "join_rule": "public" }),
            ),
        ] {
            events.push(branch.send(draft));
        }
        (branch, events)
    }

    /// The next event of the branch.
    pub(crate) fn send(&mut self, draft: Draft) -> Received {
        let last = self.last.clone();
        self.send_after(draft, &[&last])
    }

    /// An event that follows others, the branch's state being that before it.
    pub(crate) fn send_after(&mut self, draft: Draft, prev: &[&Pdu]) -> Received {
        let wanted = draft.auth_types(self.rules).unwrap();
        let held = |(event_type, key): &(ruma::events::StateEventType, String)| {
            self.state
                .get(&(event_type.to_string(), key.clone()))
                .cloned()
        };
        let depth = prev.iter().map(|pdu| pdu.depth()).max().unwrap() + 1;
        let place = Placement {
            room_id: self.room.clone(),
            rules: self.rules,
            prev_events: prev.iter().map(|pdu| pdu.event_id().to_owned()).collect(),
            auth_events: wanted.iter().filter_map(held).collect(),
            depth,
            origin_server_ts: time(depth as u32 * 10),
            reference_hashes: BTreeMap::new(),
        };
        let pdu = build(draft, place, &key()).unwrap();
        self.keep(&pdu);
        received(&pdu)
    }

    fn keep(&mut self, pdu: &Pdu) {
        if let Some(state_key) = pdu.state_key() {
            let key = (pdu.type_name().to_owned(), state_key.to_owned());
            self.state.insert(key, pdu.event_id().to_owned());
        }
        self.last = pdu.clone();
    }

    /// The state after the last event, as another server tells it.
    pub(crate) fn told(&self) -> Vec<OwnedEventId> {
        self.state.values().cloned().collect()
    }
}

fn key() -> ServerKey {
    ServerKey::generate([9; 32], "b").unwrap()
}

fn time(ms: u32) -> MilliSecondsSinceUnixEpoch {
    MilliSecondsSinceUnixEpoch(UInt::from(ms))
}

fn received(pdu: &Pdu) -> Received {
    Received {
        pdu: pdu.clone(),
        integrity: Integrity::Intact,
    }
}

pub(crate) fn state(
    sender: &OwnedUserId,
    event_type: &str,
    state_key: &str,
    content: &Value,
) -> Draft {
    let content = content_of(content).unwrap();
    Draft::state(sender.clone(), event_type, state_key, content)
}

/// Somebody's own membership.
pub(crate) fn member(user: &OwnedUserId, membership: &str) -> Draft {
    let content = json!({ "membership": membership });
    state(user, "m.room.member", user.as_str(), &content)
}

pub(crate) fn message(sender: &OwnedUserId, body: &str) -> Draft {
    let content = content_of(&json!({ "msgtype": "m.text", "body": body })).unwrap();
    Draft::message(sender.clone(), "m.room.message", content)
}

pub(crate) fn remote(name: &str) -> OwnedUserId {
    format!("@{name}:elsewhere.test").try_into().unwrap()
}
