//! Rooms of other servers: invited to, refused, joined.

use std::{collections::BTreeMap, time::Duration};

use hanse_event::{
    Draft, Integrity, Pdu, Placement, Received, ServerKey, build, build_create, content_of,
    room_version,
};
use hanse_room::{Installed, Told};
use ruma::{
    CanonicalJsonObject, MilliSecondsSinceUnixEpoch, OwnedUserId, RoomId, RoomVersionId, UserId,
};
use serde_json::{Value, json, value::RawValue};

use crate::world::{Client, SOON, World, limit};

const VERSION: RoomVersionId = RoomVersionId::V11;

/// A room of Zoe's on another server.
struct Elsewhere {
    events: Vec<Pdu>,
    key: ServerKey,
}

impl Elsewhere {
    fn new() -> Self {
        let key = ServerKey::generate([7; 32], "a").unwrap();
        let zoe: OwnedUserId = "@zoe:a.test".try_into().unwrap();
        let draft = Draft::state(zoe.clone(), "m.room.create", "", CanonicalJsonObject::new());
        let ts = MilliSecondsSinceUnixEpoch(1_u32.into());
        let create = build_create(draft, &VERSION, "elsewhere", ts, &key).unwrap();
        let mut there = Self {
            events: vec![create],
            key,
        };
        there.member(&zoe, &zoe, "join");
        there.set(
            &zoe,
            ("m.room.join_rules", ""),
            &json!({ "join_rule": "invite" }),
        );
        there.set(&zoe, ("m.room.name", ""), &json!({ "name": "there" }));
        there
    }

    fn room_id(&self) -> &RoomId {
        self.events[0].room_id()
    }

    fn member(&mut self, sender: &UserId, target: &UserId, membership: &str) -> Pdu {
        let content = json!({ "membership": membership });
        self.set(sender, ("m.room.member", target.as_str()), &content)
    }

    fn set(&mut self, sender: &UserId, (kind, key): (&str, &str), content: &Value) -> Pdu {
        let draft = Draft::state(sender.to_owned(), kind, key, content_of(content).unwrap());
        let rules = room_version::rules(&VERSION).unwrap();
        let (wanted, last) = (
            draft.auth_types(rules).unwrap(),
            self.events.last().unwrap(),
        );
        let held = wanted.iter().filter_map(|(kind, key)| {
            let is =
                |pdu: &&Pdu| pdu.type_name() == kind.to_string() && pdu.state_key() == Some(key);
            self.events.iter().rev().find(is)
        });
        let place = Placement {
            room_id: self.room_id().to_owned(),
            rules,
            prev_events: vec![last.event_id().to_owned()],
            auth_events: held.map(|pdu| pdu.event_id().to_owned()).collect(),
            depth: last.depth() + 1,
            origin_server_ts: MilliSecondsSinceUnixEpoch(7_u32.into()),
            reference_hashes: BTreeMap::new(),
        };
        let pdu = build(draft, place, &self.key).unwrap();
        self.events.push(pdu.clone());
        pdu
    }

    async fn tell(&self, world: &World, pdu: &Pdu) -> Told {
        let shown = self
            .events
            .iter()
            .filter(|pdu| pdu.type_name() != "m.room.member");
        let shown = shown.map(|pdu| RawValue::from_string(pdu.json().to_owned()).unwrap());
        let shown: Vec<_> = shown.collect();
        let told = world.rooms.receive_membership(received(pdu), &shown);
        told.await.unwrap()
    }
}

fn received(pdu: &Pdu) -> Received {
    Received {
        pdu: pdu.clone(),
        integrity: Integrity::Intact,
    }
}

/// The room's part of an answer; asked again until there is one.
async fn told(
    world: &World,
    client: &mut Client,
    user: &UserId,
    section: &str,
    room: &RoomId,
) -> Value {
    for _ in 0..20 {
        let answer = client.sync(&world.worker, user, limit(10), SOON).await;
        let part = &answer["rooms"][section][room.as_str()];
        if !part.is_null() {
            return part.clone();
        }
    }
    panic!("never told of a room in {section}");
}

fn shown(part: &Value) -> BTreeMap<&str, &Value> {
    let events = part["invite_state"]["events"].as_array().unwrap();
    let pairs = events
        .iter()
        .map(|event| (event["type"].as_str().unwrap(), &event["content"]));
    pairs.collect()
}

/// Sabotage: do not tell the user's own slot; let the worker miss the entry of an online user; tell
/// twice; forget the leave, or show it without its event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_from_elsewhere_is_shown_and_its_end() {
    let world = World::new().await;
    for (name, online) in [("ada", true), ("ben", false)] {
        let ada = world.register(name).await;
        let mut there = Elsewhere::new();
        let zoe: OwnedUserId = "@zoe:a.test".try_into().unwrap();
        let mut client = Client::default();
        if online {
            client.sync(&world.worker, &ada, limit(10), SOON).await;
        }
        let invite = there.member(&zoe, &ada, "invite");
        assert!(matches!(there.tell(&world, &invite).await, Told::Now(_)));
        let room = there.room_id().to_owned();
        let invited = told(&world, &mut client, &ada, "invite", &room).await;
        let state = shown(&invited);
        assert_eq!(state["m.room.name"]["name"], "there");
        assert_eq!(state["m.room.member"]["membership"], "invite");
        let wait = Duration::from_millis(20);
        let again = client.sync(&world.worker, &ada, limit(10), wait).await;
        assert!(again["rooms"]["invite"].get(room.as_str()).is_none());
        // Somebody who has no memory of it is told the same.
        let mut fresh = Client::default();
        let answer = fresh
            .sync(&world.fresh_worker(), &ada, limit(10), wait)
            .await;
        assert_eq!(answer["rooms"]["invite"][room.as_str()], invited);

        let rejected = world
            .rooms
            .reject(&room, ada.clone(), CanonicalJsonObject::new());
        let rejected = rejected.await.unwrap();
        let left = told(&world, &mut client, &ada, "leave", &room).await;
        let events = left["timeline"]["events"].as_array().unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0]["event_id"], rejected.event_id.as_str());
        assert_eq!(left["state"]["events"].as_array().map_or(0, Vec::len), 0);
        for _ in 0..3 {
            let again = client.sync(&world.worker, &ada, limit(10), wait).await;
            assert!(again["rooms"]["leave"].get(room.as_str()).is_none());
        }
    }
    world.close().await;
}

/// Sabotage: keep the invitation beside the room; show the state that was installed in part, or as
/// changes since the invitation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_joined_elsewhere_comes_whole() {
    let world = World::new().await;
    let (ada, ben) = (world.register("ada").await, world.register("ben").await);
    let zoe: OwnedUserId = "@zoe:a.test".try_into().unwrap();
    let mut there = Elsewhere::new();
    let mut client = Client::default();
    client.sync(&world.worker, &ada, limit(10), SOON).await;
    let mut bens = Client::default();
    bens.sync(&world.worker, &ben, limit(10), SOON).await;
    let invite = there.member(&zoe, &ada, "invite");
    there.tell(&world, &invite).await;
    let room = there.room_id().to_owned();
    told(&world, &mut client, &ada, "invite", &room).await;
    there.member(&zoe, &ben, "invite");

    let mut staging = world.rooms.stage(&room, VERSION);
    staging
        .add_state(there.events.iter().map(received).collect())
        .await
        .unwrap();
    let join = there.member(&ada, &ada, "join");
    let installed = world
        .rooms
        .install(&staging.done(), join.clone())
        .await
        .unwrap();
    assert!(matches!(installed, Installed::Now { .. }));
    let joined = told(&world, &mut client, &ada, "join", &room).await;
    assert_eq!(
        client.timelines[room.as_str()],
        [join.event_id().to_string()]
    );
    assert_eq!(client.states[room.as_str()], world.state(&room).await);
    assert_eq!(joined["summary"]["m.joined_member_count"], 2);
    // The one who came along with the state is told, too.
    let invited = told(&world, &mut bens, &ben, "invite", &room).await;
    assert_eq!(shown(&invited)["m.room.name"]["name"], "there");
    world.join(&room, &ben).await;
    told(&world, &mut bens, &ben, "join", &room).await;
    assert_eq!(bens.states[room.as_str()], world.state(&room).await);
    world.close().await;
}
