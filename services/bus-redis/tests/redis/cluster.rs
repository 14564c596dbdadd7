//! Sharded pub/sub, on a cluster of one node.

use hanse_log::{Bus, Slot};
use tokio::time::Instant;

use crate::{
    process::{Process, SLOTS, batch, heartbeat},
    server::Server,
};

#[tokio::test]
async fn a_cluster_is_recognised_and_its_channels_are_sharded() {
    const ROUNDS: i64 = 20;
    let server = Server::start_cluster().await;
    let (owner, reader) = (Process::start(&server, "a"), Process::start(&server, "a"));
    let mut ear = reader.listen().await;
    owner.connected_to(&mut ear).await;
    let begun = Instant::now();
    for seq in 1..=ROUNDS {
        for slot in (0..SLOTS).map(Slot) {
            owner.bus.publish(batch(slot, seq, 500));
        }
        // Slots go to their nodes side by side; each slot is in order.
        let mut heard: Vec<_> = Vec::new();
        for _ in 0..SLOTS {
            let notice = ear.notice().await;
            assert_eq!(notice.point.seq, seq);
            heard.push(notice.slot);
        }
        heard.sort();
        assert!(heard.into_iter().eq((0..SLOTS).map(Slot)));
    }
    let commands: String = server.ask(&["INFO", "commandstats"]).await;
    assert!(commands.contains("cmdstat_spublish:") && commands.contains("cmdstat_ssubscribe:"));
    assert!(!commands.contains("cmdstat_publish:"), "{commands}");
    let total = ROUNDS as u32 * SLOTS;
    let each = begun.elapsed() / total;
    println!("{total} notices by SPUBLISH over {SLOTS} channels: all heard, {each:?} each");
}

#[tokio::test]
async fn what_one_owner_says_of_a_slot_is_heard_in_order() {
    let server = Server::start_cluster().await;
    let process = Process::start(&server, "a");
    let mut ear = process.listen().await;
    process.connected_to(&mut ear).await;
    for round in 0..10 {
        for seq in 1..=500 {
            process.bus.publish(heartbeat(Slot(8), round * 500 + seq));
        }
        for seq in 1..=500 {
            assert_eq!(ear.notice().await.point.seq, round * 500 + seq);
        }
    }
    println!("5,000 notices of one slot by SPUBLISH: in order");
}

#[tokio::test]
async fn a_cluster_that_was_killed_is_subscribed_to_again() {
    const KILLS: usize = 3;
    let mut server = Server::start_cluster().await;
    let process = Process::start(&server, "a");
    let mut ear = process.listen().await;
    for _ in 0..KILLS {
        process.connected_to(&mut ear).await;
        server.kill();
        server.run().await;
        server.wait_for_cluster().await;
        ear.subscribed().await;
        process.connected_to(&mut ear).await;
    }
    println!("a cluster's node killed {KILLS} times: heard again each time");
}
