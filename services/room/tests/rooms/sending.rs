//! Sending, and repeated transactions.

use std::collections::HashSet;

use futures::future::join_all;
use hanse_room::{NewEvent, RoomError, Sent};
use ruma::{OwnedEventId, RoomId, UserId, room_id};

use crate::world::{World, assert_chain, message, transaction, user};

async fn send(world: &World, room: &RoomId, sender: &UserId, device: &str, txn: &str) -> Sent {
    let mut event = NewEvent::now(message(sender, txn));
    event.transaction = Some(transaction(sender, device, txn));
    world.rooms.send(room, event).await.unwrap()
}

fn ids(sent: &[Sent]) -> HashSet<OwnedEventId> {
    sent.iter().map(|sent| sent.event_id.clone()).collect()
}

/// Sabotage: look transactions up in the table alone (concurrent repeats become events), or in
/// memory alone (a repeat after a restart does).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_is_the_same_event() {
    let world = World::new().await;
    let ada = user("ada");
    let room = world.public_room(&ada).await;
    let before = world.timeline(&room).await.len();
    let repeats = (0..32).map(|_| send(&world, &room, &ada, "PHONE", "t1"));
    let sent = join_all(repeats).await;
    assert_eq!(ids(&sent).len(), 1);
    assert_eq!(world.timeline(&room).await.len(), before + 1);

    let other = send(&world, &room, &ada, "LAPTOP", "t1").await;
    assert_ne!(
        other.event_id, sent[0].event_id,
        "another device's transaction"
    );

    let world = world.reopen().await;
    let again = send(&world, &room, &ada, "PHONE", "t1").await;
    assert_eq!(again.event_id, sent[0].event_id);
    assert!(again.position >= sent[0].position);
    assert_eq!(world.timeline(&room).await.len(), before + 2);
    world.close().await;
}

/// Sabotage: remember fewer transactions than may be under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_of_the_oldest_of_many_under_way() {
    let world = World::new().await;
    let ada = user("ada");
    let room = world.public_room(&ada).await;
    let before = world.timeline(&room).await.len();
    let names: Vec<_> = (0..600).map(|number| format!("t{number}")).collect();
    let gate = world.probe.gate.lock().await;
    let sends = join_all(names.iter().map(|txn| send(&world, &room, &ada, "D", txn)));
    let repeat = async {
        world.let_them_queue().await;
        let repeats = join_all(names[..4].iter().map(|t| send(&world, &room, &ada, "D", t)));
        let release = async {
            world.let_them_queue().await;
            drop(gate);
        };
        futures::join!(repeats, release).0
    };
    let (sent, repeated) = futures::join!(sends, repeat);
    assert_eq!(ids(&repeated), ids(&sent[..4]));
    let timeline = world.timeline(&room).await;
    assert_eq!(timeline.len(), before + 600);
    assert_chain(&timeline);
    world.close().await;
}

/// Sabotage: create what is not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_room_is_refused() {
    let world = World::new().await;
    let room = room_id!("!nowhere:hanse.test");
    let refused = world.try_say(room, &user("ada"), "hello").await;
    assert!(matches!(refused, Err(RoomError::UnknownRoom { .. })));
    world.close().await;
}

/// Sabotage: let the cache make a second cell for a room that is in use.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eviction_forks_nothing() {
    let world = World::holding(1).await;
    let ada = user("ada");
    let mut rooms = Vec::new();
    for _ in 0..12 {
        rooms.push(world.public_room(&ada).await);
    }
    for _ in 0..4 {
        let sends = (0..48).map(|number| world.say(&rooms[number % 12], &ada, "hello"));
        join_all(sends).await;
    }
    for room in &rooms {
        let timeline = world.timeline(room).await;
        assert_eq!(timeline.len(), 6 + 16);
        assert_chain(&timeline);
    }
    world.close().await;
}

/// Sabotage: load all members, or look for them, when sending.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_reads_as_much_in_a_large_room() {
    let world = World::new().await;
    let ada = user("ada");
    let (small, large) = (world.public_room(&ada).await, world.public_room(&ada).await);
    for (room, members) in [(&small, 9), (&large, 1_999)] {
        let people: Vec<_> = (0..members).map(|n| user(&format!("u{n}"))).collect();
        for chunk in people.chunks(128) {
            join_all(chunk.iter().map(|user| world.join(room, user))).await;
        }
        let head = world.reader().head(room).await.unwrap().unwrap();
        assert_eq!(head.head.joined_members, members + 1);
    }
    let world = world.reopen().await;
    world.settle().await;
    let mut counts = Vec::new();
    for room in [&small, &large] {
        for sender in ["ada", "u3", "u4"] {
            let before = world.probe.reads();
            send(&world, room, &user(sender), "D", "t").await;
            counts.push(world.probe.reads() - before);
        }
    }
    eprintln!("rows read for a cold and two warm sends, 10 members, then 2,000: {counts:?}");
    assert_eq!(counts[..3], counts[3..]);
    assert!(counts[0] < 60 && counts[1] < 10, "{counts:?}");
    world.close().await;
}
