//! The stream of answers: every event once, in order, from memory as from the store.

use std::time::Duration;

use futures::future::join_all;
use hanse_sync::SyncError;
use ruma::OwnedRoomId;
use serde_json::json;

use crate::world::{Client, SOON, World, content, ids, limit, request, sync};

/// Messages of each sender in each room.
const MESSAGES: usize = 15;

/// Sabotage: choose the token after reading, read up to the end instead of the token, include
/// `since`, drop memory's floor, or let the two paths disagree.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_once_in_order_under_concurrent_senders() {
    let world = World::new().await;
    let (ada, ben) = (world.register("ada").await, world.register("ben").await);
    let mut rooms: Vec<OwnedRoomId> = Vec::new();
    for _ in 0..5 {
        let room = world.public_room(&ada).await;
        world.join(&room, &ben).await;
        rooms.push(room);
    }
    let mut client = Client::default();
    let mut tokens = Vec::new();
    let talk = {
        let (world, ada) = (&world, &ada);
        join_all(
            [(ada, 0), (&ben, 1)]
                .into_iter()
                .flat_map(|(sender, turn)| {
                    rooms.iter().map(move |room| async move {
                        for number in 0..MESSAGES {
                            world.say(room, sender, "hello").await;
                            // Never what the other one has set: that would be no event.
                            world.set(room, ada, "k", (2 * number + turn) as i64).await;
                        }
                    })
                }),
        )
    };
    let follow = async {
        loop {
            let before = client.timelines.clone();
            let wait = Duration::from_millis(150);
            let asked = client.token.clone();
            client.sync(&world.worker, &ben, limit(100), wait).await;
            if client.timelines == before && all(&client) >= 5 * (7 + 4 * MESSAGES) {
                break;
            }
            tokens.extend(asked.map(|token| (token, before)));
        }
    };
    let both = async { futures::join!(talk, follow) };
    tokio::time::timeout(Duration::from_mins(1), Box::pin(both))
        .await
        .unwrap();
    for room in &rooms {
        assert_eq!(client.timelines[room.as_str()], world.timeline(room).await);
        assert_eq!(client.states[room.as_str()], world.state(room).await);
    }
    assert!(tokens.len() > 3, "{} answers are no stream", tokens.len());
    // Old tokens again, in no order: what came after them, from memory and from the store.
    let fresh = world.fresh_worker();
    tokens.sort_by_key(|(token, _)| token.chars().rev().collect::<String>());
    for (token, known) in tokens.iter().take(12) {
        let ask = || request(Some(token), limit(100), Duration::ZERO);
        let first = content(&sync(&world.worker, &ben, ask()).await.unwrap());
        let second = content(&sync(&world.worker, &ben, ask()).await.unwrap());
        assert_eq!(first, second);
        let stored = content(&sync(&fresh, &ben, ask()).await.unwrap());
        assert_eq!(first, stored, "memory and store");
        for room in &rooms {
            let all = world.timeline(room).await;
            let known = known.get(room.as_str()).map_or(0, Vec::len);
            assert_eq!(ids(&first, "join", room, "timeline"), all[known..]);
        }
    }
    world.close().await;
}

fn all(client: &Client) -> usize {
    client.timelines.values().map(Vec::len).sum()
}

/// Sabotage: take the state at the end for the state before the timeline, or leave out what changed
/// in the gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_brings_its_state() {
    let world = World::new().await;
    let (ada, ben) = (world.register("ada").await, world.register("ben").await);
    let room = world.public_room(&ada).await;
    world.join(&room, &ben).await;
    for after in [false, true] {
        let mut client = Client::default();
        client.sync(&world.worker, &ben, limit(3), SOON).await;
        assert_eq!(client.states[room.as_str()], world.state(&room).await);
        for round in 0..4 {
            for number in 0..9 {
                let (key, value) = (format!("k{}", number % 4), i64::from(number + 10 * round));
                world.set(&room, &ada, &key, value).await;
                world.say(&room, &ben, "hello").await;
            }
            let ask = || {
                let mut ask = request(client.token.as_deref(), limit(3), SOON);
                ask.use_state_after = after;
                ask
            };
            let stored = sync(&world.fresh_worker(), &ben, ask()).await.unwrap();
            let answer = sync(&world.worker, &ben, ask()).await.unwrap();
            assert_eq!(content(&answer), content(&stored), "memory and store");
            let joined = &answer.rooms.join[&room];
            assert!(joined.timeline.limited && joined.timeline.events.len() == 3);
            let full = ids(&content(&answer), "join", &room, "timeline");
            assert!(world.timeline(&room).await.ends_with(&full));
            if after {
                let held = content(&answer);
                let part = "org.matrix.msc4222.state_after";
                let stable = &held["rooms"]["join"][room.as_str()]["state_after"];
                let part = if stable.is_null() {
                    part
                } else {
                    "state_after"
                };
                let mut state = ids(&held, "join", &room, part);
                let now = world.state(&room).await;
                let mut own: Vec<_> = now
                    .iter()
                    .filter(|((kind, _), _)| kind == "org.hanse.state")
                    .map(|(_, id)| id.clone())
                    .collect();
                state.sort();
                own.sort();
                assert_eq!(state, own);
                client.token = Some(answer.next_batch);
            } else {
                client.sync(&world.worker, &ben, limit(3), SOON).await;
                assert_eq!(client.states[room.as_str()], world.state(&room).await);
            }
        }
    }
    world.close().await;
}

/// Sabotage: leave the user out of the token's code, or do not check it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_tokens_are_refused() {
    let world = World::new().await;
    let (ada, ben) = (world.register("ada").await, world.register("ben").await);
    let now = || request(None, json!({}), Duration::ZERO);
    let token = sync(&world.worker, &ada, now()).await.unwrap().next_batch;
    let mut forged = token.clone().into_bytes();
    forged[5] ^= 1;
    let forged = String::from_utf8(forged).unwrap();
    for (user, token) in [
        (&ben, token.as_str()),
        (&ada, &forged),
        (&ada, "s"),
        (&ada, ""),
    ] {
        let asked = request(Some(token), json!({}), Duration::ZERO);
        let refused = sync(&world.worker, user, asked).await;
        assert!(matches!(refused, Err(SyncError::BadToken(_))), "{token}");
    }
    let asked = request(Some(&token), json!({}), Duration::ZERO);
    sync(&world.fresh_worker(), &ada, asked).await.unwrap();
    world.close().await;
}
