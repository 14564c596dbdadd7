//! Slots that change hands under those who write to them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hanse_cluster::timing::TTL;
use hanse_log::Position;
use hanse_room::{NewEvent, Rooms};
use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};

use crate::{
    rooms::{in_doubt, message, transaction},
    users::registration,
    world::{PATIENCE, Process, World, drain, now, user},
};

/// A client that repeats what is in doubt under its transaction id.
struct Client {
    rooms: Rooms,
    room: OwnedRoomId,
    sender: OwnedUserId,
    /// How often it had to repeat.
    repeats: usize,
}

impl Client {
    async fn send(&mut self, text: &str) -> OwnedEventId {
        let event = || NewEvent {
            transaction: Some(transaction(&self.sender, text)),
            ..NewEvent::now(message(&self.sender, text))
        };
        loop {
            match self.rooms.send(&self.room, event()).await {
                Ok(sent) => return sent.event_id,
                Err(error) if in_doubt(&error) => {
                    self.repeats += 1;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => panic!("{text}: {error}"),
            }
        }
    }

    /// Until it is told to stop; what it sent, and what that became.
    async fn send_on(mut self, name: String, stop: Arc<AtomicBool>) -> (Vec<String>, usize) {
        let (mut texts, mut became) = (Vec::new(), BTreeMap::new());
        for n in 0.. {
            if stop.load(Ordering::SeqCst) {
                break;
            }
            let text = format!("{name}-{n}");
            became.insert(self.send(&text).await, text.clone());
            texts.push(text);
        }
        assert_eq!(became.len(), texts.len(), "an event for each");
        (texts, self.repeats)
    }
}

fn client(process: &Process, room: &OwnedRoomId, sender: &OwnedUserId) -> Client {
    Client {
        rooms: process.rooms.clone(),
        room: room.clone(),
        sender: sender.clone(),
        repeats: 0,
    }
}

/// Each text once, in the order of its client.
async fn assert_sent(process: &Process, room: &OwnedRoomId, sent: &[Vec<String>]) {
    // What others have written last need not be shown here yet.
    let timeline = process.timeline_up_to(room, Position::END).await;
    for texts in sent {
        let name = texts[0].split('-').next().unwrap();
        let of_client = |text: &&String| text.split('-').next() == Some(name);
        let held: Vec<_> = timeline.iter().filter(of_client).collect();
        assert_eq!(held, texts.iter().collect::<Vec<_>>());
    }
}

/// Red if an orderly hand-over fails a request, or an event is there twice or not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_send_fails_or_is_doubled_when_its_room_is_handed_over() {
    let world = World::new();
    let [a, b, c] = world.processes().await;
    let ada = user("ada");
    let room = a.room_at(&b, &ada).await;
    let slot = a.logs.slot_of(room.as_str());
    let stop = Arc::new(AtomicBool::new(false));
    // At one who never serves it, and at the two between whom it goes.
    let sending = [&a, &a, &b, &c]
        .into_iter()
        .enumerate()
        .map(|(at, process)| {
            let client = client(process, &room, &ada);
            process.run(client.send_on(format!("c{at}"), Arc::clone(&stop)))
        });
    let sending = futures::future::join_all(sending);
    let moving = async {
        for _ in 0..3 {
            b.hand(slot, &c).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            c.hand(slot, &b).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        stop.store(true, Ordering::SeqCst);
    };
    let (sent, ()) = tokio::join!(sending, moving);
    let repeats: usize = sent.iter().map(|(_, repeats)| repeats).sum();
    let texts: Vec<_> = sent.into_iter().map(|(texts, _)| texts).collect();
    let count: usize = texts.iter().map(Vec::len).sum();
    println!("{count} sends over six moves, {repeats} repeats by clients");
    assert_eq!(repeats, 0, "a hand-over fails nobody");
    assert_sent(&a, &room, &texts).await;
    drain([a, b, c]).await;
}

/// Red if a send to a dead process's room is lost, doubled, or waits for longer than the takeover.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sends_to_a_dead_owners_room_are_there_once() {
    let world = World::new();
    let [a, b, c] = world.processes().await;
    let ada = user("ada");
    let room = a.room_at(&b, &ada).await;
    let stop = Arc::new(AtomicBool::new(false));
    let sending = [&a, &a, &c].into_iter().enumerate().map(|(at, process)| {
        let client = client(process, &room, &ada);
        process.run(client.send_on(format!("c{at}"), Arc::clone(&stop)))
    });
    let sending = futures::future::join_all(sending);
    let killing = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        b.kill();
        let killed = now();
        let after = client(&a, &room, &ada);
        let mut after = after;
        a.run(async move { after.send("after-0").await }).await;
        let took = killed.elapsed();
        tokio::time::sleep(Duration::from_millis(500)).await;
        stop.store(true, Ordering::SeqCst);
        took
    };
    let both = async { tokio::join!(sending, killing) };
    let (sent, took) = tokio::time::timeout(PATIENCE, Box::pin(both))
        .await
        .unwrap();
    let repeats: usize = sent.iter().map(|(_, repeats)| repeats).sum();
    let texts: Vec<_> = sent.into_iter().map(|(texts, _)| texts).collect();
    let count: usize = texts.iter().map(Vec::len).sum();
    println!("{count} sends, {repeats} repeats by clients, sent again {took:?} after the kill");
    assert!(took < TTL + Duration::from_secs(4), "{took:?}");
    // In flight at the kill, each client had at most one.
    assert!(repeats <= 6, "{repeats}");
    assert_sent(&a, &room, &texts).await;
    drain([a, c]).await;
}

/// Red if a user's writes fail, or are done twice, when the user's slot is handed over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_of_a_user_fails_when_the_user_is_handed_over() {
    let world = World::new();
    let [a, b, c] = world.processes().await;
    let localpart = b.localpart("alice");
    let alice = user(&localpart);
    let slot = a.logs.slot_of(alice.as_str());
    let registration = registration(&localpart);
    a.user(|users| async move { users.register(registration).await.unwrap() })
        .await;
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, user_id) = (Arc::clone(&stop), alice.clone());
    let writing = a.user(|users| async move {
        let mut positions = Vec::new();
        while !stopped.load(Ordering::SeqCst) {
            let content = serde_json::value::RawValue::from_string("{}".to_owned()).unwrap();
            let put = users.put_account_data(&user_id, None, "t", &content).await;
            positions.push(put.unwrap());
        }
        positions
    });
    let moving = async {
        for _ in 0..3 {
            b.hand(slot, &c).await;
            tokio::time::sleep(Duration::from_millis(150)).await;
            c.hand(slot, &b).await;
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        stop.store(true, Ordering::SeqCst);
    };
    let (positions, ()) = tokio::join!(writing, moving);
    println!("{} writes over six moves", positions.len());
    assert!(positions.len() > 20);
    assert!(positions.is_sorted(), "each after the one before");
    let datum = a.users.account_data(&alice, None, "t").await.unwrap();
    assert_eq!(datum.unwrap().position, *positions.last().unwrap());
    drain([a, b, c]).await;
}
