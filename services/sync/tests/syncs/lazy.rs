//! Lazy loading of members.

use ruma::OwnedUserId;
use serde_json::{Value, json};

use crate::world::{Client, SOON, World, eventually, limit, user};

fn filter(redundant: bool) -> Value {
    let state = json!({ "lazy_load_members": true, "include_redundant_members": redundant });
    json!({ "room": { "state": state, "timeline": { "limit": 2 } } })
}

fn members(answer: &Value, room: &ruma::RoomId) -> Vec<String> {
    let state = &answer["rooms"]["join"][room.as_str()]["state"]["events"];
    let state = state.as_array().map_or(&[][..], Vec::as_slice);
    let members = state
        .iter()
        .filter(|event| event["type"] == "m.room.member");
    let mut members: Vec<_> = members
        .map(|event| event["state_key"].as_str().unwrap().to_owned())
        .collect();
    members.sort();
    members
}

/// Returns when an answer has everything that was said: a worker follows the log a moment later.
async fn seen_by_the_worker(world: &World, user: &ruma::UserId, room: &ruma::RoomId) {
    eventually("the worker has seen it all", async || {
        let mut other = Client::default();
        other.sync(&world.worker, user, limit(100), SOON).await;
        other.timelines[room.as_str()] == world.timeline(room).await
    })
    .await;
}

/// Sabotage: send every member, no speaker, or a speaker again who was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_speaks_and_once() {
    let world = World::new().await;
    let (ada, ben) = (world.register("ada").await, world.register("ben").await);
    for redundant in [false, true] {
        let room = world.public_room(&ada).await;
        let crowd: Vec<OwnedUserId> = (0..10).map(|n| user(&format!("u{n}"))).collect();
        world.name(&room, &ada).await;
        world.join(&room, &ben).await;
        for member in &crowd {
            world.join(&room, member).await;
        }
        let talk = async |speaker: &OwnedUserId| {
            for _ in 0..3 {
                world.say(&room, speaker, "hello").await;
            }
        };
        talk(&crowd[3]).await;
        let mut client = Client::default();
        let answer = client
            .sync(&world.worker, &ben, filter(redundant), SOON)
            .await;
        assert_eq!(members(&answer, &room), [ben.as_str(), crowd[3].as_str()]);
        for (speaker, new) in [
            (&crowd[3], redundant),
            (&crowd[5], true),
            (&crowd[5], redundant),
        ] {
            talk(speaker).await;
            let before = client.token.clone();
            let answer = client
                .sync(&world.worker, &ben, filter(redundant), SOON)
                .await;
            let expected: Vec<_> = new.then(|| speaker.to_string()).into_iter().collect();
            assert_eq!(members(&answer, &room), expected);
            // The answer is lost, and asked for again.
            client.token = before;
            let again = client
                .sync(&world.worker, &ben, filter(redundant), SOON)
                .await;
            assert_eq!(members(&again, &room), expected, "a lost answer");
        }
    }
    world.close().await;
}

/// "the membership events for the heroes MUST be included in the `state`, unless they are redundant."
/// Sabotage: send no hero, everybody, or a hero again who was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_a_room_is_named_after() {
    let world = World::new().await;
    let (ada, ben) = (world.register("ada").await, world.register("ben").await);
    let room = world.public_room(&ada).await;
    world.join(&room, &ben).await;
    world.say(&room, &ben, "hello").await;
    world.say(&room, &ben, "hello").await;
    seen_by_the_worker(&world, &ben, &room).await;
    let mut client = Client::default();
    let answer = client.sync(&world.worker, &ben, filter(false), SOON).await;
    assert_eq!(members(&answer, &room), [ada.as_str(), ben.as_str()]);
    let cai = user("cai");
    world.join(&room, &cai).await;
    world.say(&room, &ben, "hello").await;
    world.say(&room, &ben, "hello").await;
    seen_by_the_worker(&world, &ben, &room).await;
    let answer = client.sync(&world.worker, &ben, filter(false), SOON).await;
    assert_eq!(members(&answer, &room), [cai.as_str()]);
    world.close().await;
}
