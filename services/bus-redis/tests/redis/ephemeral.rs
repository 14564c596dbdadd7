//! What is of use only just now.

use std::time::Duration;

use hanse_log::{Bus, EphemeralBus, Heard, Slot};
use hanse_proto::bus::{Ephemeral, Typing, ephemeral::What};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use crate::{
    process::{Counters, Process, heartbeat},
    server::Server,
};

/// The longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);
/// Half of the queue of those who publish.
const HALF_QUEUE: usize = 1_024;

fn typing(number: usize) -> Ephemeral {
    let typing = Typing {
        room_id: "!r:localhost".to_owned(),
        user_id: format!("@u{number}:localhost"),
        lasts_ms: 30_000,
    };
    Ephemeral {
        version: 1,
        what: Some(What::Typing(typing)),
    }
}

/// Who listens to what is ephemeral, from when the subscription stands.
struct Listener(mpsc::Receiver<Heard<Ephemeral>>);

impl Listener {
    async fn of(process: &Process) -> Self {
        let mut listener = Self(process.bus.listen());
        assert_eq!(listener.next().await, Heard::Subscribed);
        listener
    }

    async fn next(&mut self) -> Heard<Ephemeral> {
        let heard = timeout(PATIENCE, self.0.recv()).await;
        heard.expect("something is heard in time").unwrap()
    }

    async fn within(&mut self, wait: Duration) -> Option<Heard<Ephemeral>> {
        timeout(wait, self.0.recv()).await.ok().flatten()
    }

    /// Tells until it is heard: the writer connects in its own time.
    async fn hears(&mut self, teller: &Process) {
        let begun = Instant::now();
        loop {
            teller.bus.tell(typing(0));
            let heard = self.within(Duration::from_millis(50)).await;
            if matches!(heard, Some(Heard::Notice(_))) {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "nothing is heard");
        }
        while self.within(Duration::from_millis(100)).await.is_some() {}
    }
}

/// Sabotage: subscribe to the slots' channels alone, or tell on a slot's channel.
#[tokio::test]
async fn every_process_that_listens_hears_it_and_the_slots_readers_do_not() {
    let server = Server::start("").await;
    let (teller, other) = (Process::start(&server, "a"), Process::start(&server, "a"));
    let stranger = Process::start(&server, "b");
    let mut slots = other.listen().await;
    let mut apart = Listener::of(&stranger).await;
    let (mut here, mut there) = (Listener::of(&teller).await, Listener::of(&other).await);
    here.hears(&teller).await;
    while there.within(Duration::from_millis(100)).await.is_some() {}
    for number in 0..500 {
        teller.bus.tell(typing(number));
        for listener in [&mut here, &mut there] {
            assert_eq!(listener.next().await, Heard::Notice(typing(number)));
        }
    }
    assert_eq!(slots.within(Duration::from_millis(100)).await, None);
    assert_eq!(apart.within(Duration::from_millis(100)).await, None);
    let keys: i64 = server.ask(&["DBSIZE"]).await;
    assert_eq!(keys, 0);
    println!("500 typing notices, 2 listeners: all heard; none by a reader of slots, 0 keys");
}

/// Sabotage: let what is ephemeral take the whole queue.
#[tokio::test]
async fn a_flood_of_it_takes_no_place_from_the_slots() {
    const FLOOD: usize = 10_000;
    let (recorder, counters) = Counters::new();
    let _guard = Counters::install(&recorder);
    let server = Server::start("").await;
    let process = Process::start(&server, "a");
    let mut slots = process.listen().await;
    process.connected_to(&mut slots).await;
    // One thread runs all of the process: nothing is sent before this test waits.
    for number in 0..FLOOD {
        process.bus.tell(typing(number));
    }
    let dropped = counters.get("hanse_bus_dropped_total{reason=\"queue_full\"}");
    for seq in 0..1_000 {
        process.bus.publish(heartbeat(Slot(4), seq));
    }
    for seq in 0..1_000 {
        assert_eq!(slots.notice().await.point.seq, seq);
    }
    assert_eq!(dropped as usize, FLOOD - HALF_QUEUE);
    let after = counters.get("hanse_bus_dropped_total{reason=\"queue_full\"}");
    assert_eq!(after, dropped, "no notice was dropped");
    println!("{FLOOD} typing notices at once: {dropped} dropped, then 1,000 notices: all heard");
}

#[tokio::test]
async fn it_is_heard_again_after_the_server_was_killed_and_lost_meanwhile() {
    const KILLS: usize = 3;
    let mut server = Server::start("").await;
    let (teller, other) = (Process::start(&server, "a"), Process::start(&server, "a"));
    let mut listener = Listener::of(&other).await;
    listener.hears(&teller).await;
    for _ in 0..KILLS {
        server.kill();
        for number in 1..=100 {
            teller.bus.tell(typing(number));
        }
        assert_eq!(listener.within(Duration::from_millis(300)).await, None);
        server.run().await;
        assert_eq!(listener.next().await, Heard::Subscribed);
        listener.hears(&teller).await;
    }
    println!("{KILLS} kills: heard again each time");
}

#[tokio::test]
async fn a_cluster_shards_it_like_the_rest() {
    let server = Server::start_cluster().await;
    let (teller, other) = (Process::start(&server, "a"), Process::start(&server, "a"));
    let mut listener = Listener::of(&other).await;
    listener.hears(&teller).await;
    for number in 0..100 {
        teller.bus.tell(typing(number));
        assert_eq!(listener.next().await, Heard::Notice(typing(number)));
    }
    println!("100 typing notices by SPUBLISH: all heard");
}
