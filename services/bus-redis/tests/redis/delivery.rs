//! What the bus carries while nothing goes wrong.

use std::time::Duration;

use hanse_bus_redis::BODY_BYTES_MAX;
use hanse_log::{Bus, Heard, Slot};
use tokio::time::Instant;

use crate::{
    process::{Counters, Process, SLOTS, batch, heartbeat},
    server::Server,
};

/// Notices that are on their way at once: fewer than any queue holds.
const WINDOW: i64 = 500;

#[tokio::test]
async fn every_slot_is_heard_by_every_process() {
    let server = Server::start("").await;
    let (owner, reader) = (Process::start(&server, "a"), Process::start(&server, "a"));
    let (mut here, mut there) = (owner.listen().await, reader.listen().await);
    owner.connected_to(&mut there).await;
    here.drain().await;
    for slot in (0..SLOTS).map(Slot) {
        owner.bus.publish(batch(slot, 7, 100));
        owner.bus.publish(heartbeat(slot, 7));
    }
    for ear in [&mut here, &mut there] {
        for slot in (0..SLOTS).map(Slot) {
            assert_eq!(ear.notice().await, batch(slot, 7, 100));
            assert_eq!(ear.notice().await, heartbeat(slot, 7));
        }
    }
    println!("{SLOTS} slots, 2 notices each, 2 processes: all heard, in order");
}

#[tokio::test]
async fn what_one_owner_says_is_heard_in_order_and_none_is_lost() {
    const NOTICES: i64 = 20_000;
    let server = Server::start("").await;
    let (owner, reader) = (Process::start(&server, "a"), Process::start(&server, "a"));
    let mut ear = reader.listen().await;
    owner.connected_to(&mut ear).await;
    let begun = Instant::now();
    let mut heard = 0;
    for seq in 1..=NOTICES {
        owner.bus.publish(batch(Slot(3), seq, 1_000));
        while seq - heard >= WINDOW || (seq == NOTICES && heard < NOTICES) {
            heard += 1;
            assert_eq!(ear.notice().await, batch(Slot(3), heard, 1_000));
        }
    }
    let each = begun.elapsed() / NOTICES as u32;
    println!("{NOTICES} notices of 1 KB, one owner, one reader: in order, {each:?} each");
}

#[tokio::test]
async fn a_batch_above_4_kib_comes_by_reference() {
    let server = Server::start("").await;
    let process = Process::start(&server, "a");
    let mut ear = process.listen().await;
    process.connected_to(&mut ear).await;
    for (bytes, carried) in [
        (100, true),
        (4_000, true),
        (BODY_BYTES_MAX, false),
        (120_000, false),
    ] {
        let whole = batch(Slot(9), 4, bytes);
        process.bus.publish(whole.clone());
        let heard = ear.notice().await;
        assert_eq!(heard.entries.is_some(), carried, "{bytes}");
        assert_eq!(
            (heard.point, heard.prev, heard.epoch),
            (whole.point, whole.prev, whole.epoch)
        );
    }
    println!("batches of 100 and 4,000 bytes carried, of 4,096 and 120,000 by reference");
}

#[tokio::test]
async fn two_deployments_on_one_server_do_not_hear_each_other() {
    let server = Server::start("").await;
    let (red, blue) = (
        Process::start(&server, "red"),
        Process::start(&server, "blue"),
    );
    let (mut red_ear, mut blue_ear) = (red.listen().await, blue.listen().await);
    red.connected_to(&mut red_ear).await;
    blue.connected_to(&mut blue_ear).await;
    assert_eq!(red_ear.within(Duration::from_millis(300)).await, None);
    for seq in 1..=100 {
        red.bus.publish(batch(Slot(1), seq, 10));
        blue.bus.publish(batch(Slot(1), 1_000 + seq, 10));
    }
    for seq in 1..=100 {
        assert_eq!(red_ear.notice().await.point.seq, seq);
        assert_eq!(blue_ear.notice().await.point.seq, 1_000 + seq);
    }
    assert_eq!(red_ear.within(Duration::from_millis(200)).await, None);
    assert_eq!(blue_ear.within(Duration::from_millis(200)).await, None);
    println!("100 notices in each of 2 deployments: none crossed");
}

#[tokio::test]
async fn subscribers_of_one_process_share_a_connection_which_ends_with_the_last() {
    let server = Server::start("").await;
    let process = Process::start(&server, "a");
    assert_eq!(server.listening().await.len(), 0, "nobody listens yet");
    let mut first = process.listen().await;
    let mut second = process.listen().await;
    process.connected_to(&mut first).await;
    second.drain().await;
    process.bus.publish(heartbeat(Slot(2), 1));
    assert_eq!(first.notice().await, second.notice().await);
    assert_eq!(server.listening().await.len(), 1);

    drop((first, second));
    let begun = Instant::now();
    while !server.listening().await.is_empty() {
        process.bus.publish(heartbeat(Slot(2), 2));
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "the connection stays"
        );
    }
    let mut again = process.listen().await;
    process.connected_to(&mut again).await;
    println!("2 subscribers, 1 connection; 0 after both had gone; 1 again");
}

#[tokio::test]
async fn what_is_no_notice_is_counted_and_passed_over() {
    let (recorder, counters) = Counters::new();
    let _guard = Counters::install(&recorder);
    let server = Server::start("").await;
    let process = Process::start(&server, "a");
    let mut ear = process.listen().await;
    process.connected_to(&mut ear).await;
    for junk in ["", "junk", "\u{8}\u{63}"] {
        let _: i64 = server.ask(&["PUBLISH", "hanse:a:1", junk]).await;
    }
    process.bus.publish(heartbeat(Slot(1), 8));
    assert_eq!(ear.next().await, Heard::Notice(heartbeat(Slot(1), 8)));
    let malformed = counters.get("hanse_bus_undecodable_total{reason=\"malformed\"}");
    let version = counters.get("hanse_bus_undecodable_total{reason=\"version\"}");
    assert_eq!(malformed + version, 3);
    println!("3 messages that are no notices: {malformed} malformed, {version} of no version");
}

#[tokio::test]
async fn what_is_queued_when_the_process_drains_is_still_sent() {
    let server = Server::start("").await;
    let (owner, reader) = (Process::start(&server, "a"), Process::start(&server, "a"));
    let mut ear = reader.listen().await;
    owner.connected_to(&mut ear).await;
    for seq in 1..=1_000 {
        owner.bus.publish(heartbeat(Slot(1), seq));
    }
    owner.tasks.finish().await;
    for seq in 1..=1_000 {
        assert_eq!(ear.notice().await.point.seq, seq);
    }
    println!("1,000 notices queued at the drain: all heard");
}
