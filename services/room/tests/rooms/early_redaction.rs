//! Redactions from elsewhere that come before what they redact.

use hanse_event::{Draft, Received};
use hanse_room::{Fate, Fetched};
use ruma::{OwnedUserId, RoomId};
use serde_json::{Value, json};

use crate::{
    elsewhere::{Branch, member, message, remote, state},
    world::World,
};

/// A room of another server, with Ann, who has the power to redact; Bob; and Eve of a third server.
async fn room_with_bob_and_eve(world: &World) -> (Branch, [OwnedUserId; 3]) {
    let people = [
        remote("ann"),
        remote("bob"),
        "@eve:third.test".try_into().unwrap(),
    ];
    let (mut branch, mut events) = Branch::new(&people[0]);
    for person in &people[1..] {
        events.push(branch.send(member(person, "join")));
    }
    receive(world, &branch.room, events).await;
    (branch, people)
}

async fn receive(world: &World, room: &RoomId, events: Vec<Received>) {
    for arrived in world.rooms.receive(room, events).await.unwrap() {
        assert_eq!(arrived.fate, Fate::Accepted, "{}", arrived.event_id);
    }
}

fn redaction(sender: &OwnedUserId, target: &Received) -> Draft {
    let target = target.pdu.event_id().to_owned();
    Draft::redaction(sender.clone(), target, Some("why".to_owned()))
}

/// An event's content, and the sender of its redaction.
async fn shown(world: &World, room: &RoomId, event: &Received) -> (Value, Option<String>) {
    let shown = world.reader().event(room, event.pdu.event_id()).await;
    let pdu = shown.unwrap().unwrap().pdu;
    let unsigned = pdu.unsigned().map_or("{}", |unsigned| unsigned.get());
    let unsigned: Value = serde_json::from_str(unsigned).unwrap();
    let because = unsigned["redacted_because"]["sender"].as_str();
    (pdu.content_as().unwrap(), because.map(str::to_owned))
}

/// Sabotage: do not write that a redaction awaits its target; do not look for it; let whoever sent
/// one redact; write its target whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prunes_what_comes_after_it() {
    let world = World::new().await;
    let (branch, [ann, bob, eve]) = room_with_bob_and_eve(&world).await;
    let room = branch.room.clone();
    let (mut said, mut apart) = (branch.clone(), branch);
    let target = said.send(message(&bob, "secret"));
    let reply = json!({ "body": "r", "m.relates_to": { "rel_type": "m.thread", "event_id": target.pdu.event_id() } });
    let reply = said.send(Draft::message(
        ann.clone(),
        "m.room.message",
        hanse_event::content_of(&reply).unwrap(),
    ));
    let kept = said.send(message(&bob, "kept"));
    let early = [
        apart.send(redaction(&eve, &target)),
        apart.send(redaction(&ann, &target)),
        apart.send(redaction(&bob, &reply)),
        apart.send(redaction(&eve, &kept)),
    ];
    receive(&world, &room, early.to_vec()).await;

    let world = world.crash().await;
    receive(
        &world,
        &room,
        vec![target.clone(), reply.clone(), kept.clone()],
    )
    .await;
    for _ in 0..2 {
        let pruned = shown(&world, &room, &target).await;
        assert_eq!(pruned, (json!({}), Some(ann.to_string())));
        let pruned = shown(&world, &room, &reply).await;
        assert_eq!(pruned, (json!({}), Some(bob.to_string())));
        let (content, because) = shown(&world, &room, &kept).await;
        assert_eq!((content["body"].as_str(), because), (Some("kept"), None));
    }
    let related = world.rows(
        "room_relations",
        vec![room.as_str().into(), target.pdu.event_id().as_str().into()],
    );
    assert_eq!(related.await, 0);
    world.close().await;
}

/// Sabotage: write the state event whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prunes_state_that_comes_after_it() {
    let world = World::new().await;
    let (branch, [ann, bob, _]) = room_with_bob_and_eve(&world).await;
    let room = branch.room.clone();
    let (mut said, mut apart) = (branch.clone(), branch);
    // What is left of it lets nobody but Ann change the state, and the name goes.
    let levels = json!({
        "users": { ann.as_str(): 100 }, "state_default": 50, "notifications": { "room": 0 },
    });
    let levels = said.send(state(&ann, "m.room.power_levels", "", &levels));
    let name = said.send(state(&ann, "m.room.name", "", &json!({ "name": "secret" })));
    let early = vec![
        apart.send(redaction(&ann, &levels)),
        apart.send(redaction(&bob, &name)),
    ];
    receive(&world, &room, early).await;
    receive(&world, &room, vec![levels.clone(), name.clone()]).await;
    assert_eq!(world.content(&room, "m.room.name", "").await, json!({}));
    let left = json!({ "users": { ann.as_str(): 100 }, "state_default": 50 });
    assert_eq!(world.content(&room, "m.room.power_levels", "").await, left);
    let world = world.reopen().await;
    let pruned = shown(&world, &room, &name).await;
    assert_eq!(pruned, (json!({}), Some(bob.to_string())));
    world.close().await;
}

/// Sabotage: write backfilled events as they come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prunes_what_is_backfilled() {
    let world = World::new().await;
    let (mut branch, [ann, bob, _]) = room_with_bob_and_eve(&world).await;
    let room = branch.room.clone();
    let target = branch.send(message(&bob, "secret"));
    let redaction = branch.send(redaction(&ann, &target));
    let told = branch.told();
    let newest = branch.send(message(&ann, "after the gap"));
    let states = vec![told];
    let fetched = |event: &Received, states: &[_]| Fetched {
        event: event.clone(),
        states: states.to_vec(),
    };
    let arrived = world
        .rooms
        .receive_fetched(&room, fetched(&newest, &states));
    assert_eq!(arrived.await.unwrap().fate, Fate::Accepted);
    for event in [&redaction, &target] {
        let arrived = world.rooms.backfill(&room, vec![fetched(event, &[])]).await;
        assert_eq!(arrived.unwrap()[0].fate, Fate::Accepted);
        let world_has = shown(&world, &room, event).await;
        assert_eq!(
            world_has.1.is_some(),
            *event.pdu.event_id() == *target.pdu.event_id()
        );
    }
    let pruned = shown(&world, &room, &target).await;
    assert_eq!(pruned, (json!({}), Some(ann.to_string())));
    world.close().await;
}
