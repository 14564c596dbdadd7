//! The server cuts connections.

use std::time::Duration;

use hanse_log::{Bus, Heard, Slot};
use hanse_proto::bus::Notice as Message;
use prost::Message as _;
use tokio::time::{Instant, sleep};

use crate::{
    process::{Process, heartbeat},
    server::Server,
};

#[tokio::test]
async fn client_kill_is_followed_by_subscribed() {
    const KILLS: usize = 20;
    let server = Server::start("").await;
    let process = Process::start(&server, "a");
    let mut ear = process.listen().await;
    let (mut listening, mut publishing, mut lost) = (0, 0, 0);
    for round in 0..KILLS {
        process.connected_to(&mut ear).await;
        let kind = if round % 2 == 0 { "pubsub" } else { "normal" };
        let killed: usize = server
            .ask(&["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"])
            .await;
        assert!(killed >= 1, "{kind}");
        if kind == "pubsub" {
            listening += killed;
            ear.subscribed().await;
        } else {
            publishing += killed;
            // The subscription does not hang on the publisher's connection.
            for seq in 0..50 {
                process.bus.publish(heartbeat(Slot(2), seq));
                sleep(Duration::from_millis(2)).await;
            }
            while let Some(heard) = ear.within(Duration::from_millis(200)).await {
                assert_ne!(heard, Heard::Subscribed);
                lost += 1;
            }
        }
    }
    let lost = 50 * KILLS / 2 - lost;
    println!("CLIENT KILL: {listening} listening, {publishing} publishing; {lost} of 500 lost");
}

/// The reader stands still while somebody floods its channel, until the server's buffer for it
/// passes the limit.
#[tokio::test]
async fn a_cut_for_its_output_buffer_is_followed_by_subscribed() {
    const FLOOD: usize = 8_000;
    let server = Server::start("").await;
    let limit = "pubsub 262144 131072 1";
    let _: String = server
        .ask(&["CONFIG", "SET", "client-output-buffer-limit", limit])
        .await;
    let process = Process::start(&server, "a");
    let mut ear = process.listen().await;
    process.connected_to(&mut ear).await;
    let before = server.listening().await;

    // This thread runs everything of the process; it stands still until the flood is over.
    let url = server.url();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(move || flood(&url, FLOOD));
    });
    println!(
        "{FLOOD} notices of 4 KB in {:?} past a reader that stands still",
        begun.elapsed()
    );

    let mut heard = 0;
    while ear.next().await != Heard::Subscribed {
        heard += 1;
    }
    assert!(heard < FLOOD, "nothing was cut");
    let log = server.log();
    assert!(log.contains("overcoming of output buffer limits"), "{log}");
    process.connected_to(&mut ear).await;
    let after = server.listening().await;
    assert!(after.len() == 1 && after != before, "{before:?} {after:?}");
    println!("cut after {heard} of {FLOOD}, subscribed again");
}

fn flood(url: &str, count: usize) {
    let message = Message {
        version: 1,
        slot: 5,
        seq: 1,
        batch: Some(hanse_proto::log::Batch {
            entries: vec![hanse_proto::log::Entry {
                trace_parent: "x".repeat(4_000),
                ..Default::default()
            }],
        }),
        ..Message::default()
    };
    let message = message.encode_to_vec();
    let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
    for _ in 0..count / 100 {
        let mut pipeline = redis::pipe();
        for _ in 0..100 {
            pipeline
                .cmd("PUBLISH")
                .arg("hanse:a:5")
                .arg(&message)
                .ignore();
        }
        pipeline.query::<()>(&mut connection).unwrap();
    }
}
