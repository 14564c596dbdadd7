//! The server goes away, or is away.

use std::time::Duration;

use hanse_log::{Bus, Slot};
use tokio::time::{Instant, sleep};

use crate::{
    process::{Counters, Process, heartbeat},
    server::Server,
};

/// How often the server is killed.
const KILLS: usize = 5;

#[tokio::test]
async fn killed_and_restarted_it_is_subscribed_to_again() {
    let mut server = Server::start("").await;
    let (owner, reader) = (Process::start(&server, "a"), Process::start(&server, "a"));
    let mut ear = reader.listen().await;
    let mut longest = Duration::ZERO;
    for _ in 0..KILLS {
        owner.connected_to(&mut ear).await;
        server.kill();
        for seq in 0..100 {
            owner.bus.publish(heartbeat(Slot(4), seq));
        }
        sleep(Duration::from_millis(300)).await;
        server.run().await;
        let begun = Instant::now();
        ear.subscribed().await;
        owner.connected_to(&mut ear).await;
        longest = longest.max(begun.elapsed());
    }
    println!("{KILLS} kills: heard again each time, after {longest:?} at most");
}

#[tokio::test]
async fn a_server_that_comes_after_the_process_is_found() {
    let mut server = Server::start("").await;
    server.kill();
    let (recorder, counters) = Counters::new();
    let _guard = Counters::install(&recorder);
    let process = Process::start(&server, "a");
    let mut ear_before = process.bus.subscribe();
    for seq in 0..500 {
        process.bus.publish(heartbeat(Slot(4), seq));
        sleep(Duration::from_millis(1)).await;
    }
    let dropped = counters.get("hanse_bus_dropped_total{reason=\"unreachable\"}");
    assert!(dropped > 400, "{dropped}");
    assert!(
        ear_before.try_recv().is_err(),
        "nothing stands without a server"
    );
    server.run().await;
    let mut ear = process.listen().await;
    process.connected_to(&mut ear).await;
    println!("500 notices without a server: {dropped} dropped by then, then found");
}

/// `Subscribed` means that the server has confirmed: one that refuses has not.
#[tokio::test]
async fn nothing_is_said_before_the_server_has_confirmed() {
    let server = Server::start("").await;
    let _: String = server
        .ask(&["ACL", "SETUSER", "default", "resetchannels"])
        .await;
    let process = Process::start(&server, "a");
    let mut heard = process.bus.subscribe();
    sleep(Duration::from_secs(1)).await;
    assert!(heard.try_recv().is_err());
    let refused: redis::Value = server.ask(&["ACL", "LOG"]).await;
    let refused = format!("{refused:?}");
    assert!(refused.contains("hanse:a:"), "it has tried: {refused}");
    let _: String = server
        .ask(&["ACL", "SETUSER", "default", "allchannels"])
        .await;
    let mut ear = process.listen().await;
    process.connected_to(&mut ear).await;
    println!("refused for 1 s: silent; then allowed, and heard");
}

/// A frozen server takes nothing and cuts nothing: the publisher must neither wait nor grow.
#[tokio::test]
async fn a_frozen_server_is_not_waited_for() {
    const NOTICES: i64 = 20_000;
    let (recorder, counters) = Counters::new();
    let _guard = Counters::install(&recorder);
    let server = Server::start("").await;
    let process = Process::start(&server, "a");
    let mut ear = process.listen().await;
    process.connected_to(&mut ear).await;
    let connections = server.listening().await;
    server.signal("STOP");
    let mut longest = Duration::ZERO;
    for seq in 0..NOTICES {
        let begun = Instant::now();
        process.bus.publish(heartbeat(Slot(4), seq));
        longest = longest.max(begun.elapsed());
    }
    sleep(Duration::from_secs(8)).await;
    server.signal("CONT");
    ear.subscribed().await;
    process.connected_to(&mut ear).await;
    assert_ne!(
        server.listening().await,
        connections,
        "the silence was noticed"
    );
    let dropped: u64 = ["queue_full", "failed", "unreachable"]
        .iter()
        .map(|reason| counters.get(&format!("hanse_bus_dropped_total{{reason=\"{reason}\"}}")))
        .sum();
    assert!(dropped >= 17_000, "{dropped}");
    assert!(longest < Duration::from_millis(250), "{longest:?}");
    println!("frozen for 8 s: {NOTICES} notices, {dropped} dropped, the longest call {longest:?}");
}

#[tokio::test]
async fn flushall_takes_nothing_from_the_bus() {
    let server = Server::start("").await;
    let process = Process::start(&server, "a");
    let mut ear = process.listen().await;
    process.connected_to(&mut ear).await;
    for seq in 1..=200 {
        if seq % 20 == 0 {
            let _: String = server.ask(&["FLUSHALL"]).await;
        }
        process.bus.publish(heartbeat(Slot(4), seq));
        assert_eq!(ear.notice().await.point.seq, seq);
    }
    let keys: i64 = server.ask(&["DBSIZE"]).await;
    assert_eq!(keys, 0, "the bus keeps nothing in Redis");
    println!("10 times FLUSHALL among 200 notices: all heard; 0 keys");
}
