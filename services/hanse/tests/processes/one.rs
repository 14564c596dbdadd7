//! One process of a cluster, from its start to its end.

use std::fs;
use std::time::Duration;

use tempfile::TempDir;

use crate::world::{
    SLOTS, World, cql, keyspace, long_poll, now, ready, room, run_in, send, settled, sync,
    sync_until,
};

/// Red if a process with `[cluster]` does not take every slot, or its drain is not orderly: if a long
/// poll is cut off, or the slots are not handed on before the logs end.
#[tokio::test]
async fn a_process_with_every_role_starts_serves_and_drains() {
    let mut world = World::start(&[("all", "api,persister,sync")]).await;
    let mut alice = world.register("all").await;
    let room_id = room(&mut alice).await;
    let (since, _) = sync(&mut alice, None, Duration::ZERO).await;
    send(&mut alice, &room_id, "hello").await;
    sync_until(&mut alice, since, "hello").await;

    let since = settled(&mut alice).await;
    let begun = now();
    let poll = long_poll(&alice, &since);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let node = world.node("all");
    node.process.terminate().unwrap();
    let (token, _) = poll.await.unwrap();
    let took = begun.elapsed();
    assert_eq!(token, since, "an empty answer, the same token");
    assert!(took < Duration::from_secs(10), "{took:?}");
    node.ended_in_order().await.unwrap();
    let log = node.process.log_tail();
    assert!(log.contains("all slots are handed on"), "{log}");
    world.stop().await;
}

/// Red if a slot of the one before is not taken, or the lease is not asked for readiness.
#[tokio::test]
async fn the_next_process_goes_on_where_the_one_before_was_killed() {
    let mut world = World::start(&[("first", "api,persister,sync")]).await;
    let mut alice = world.register("first").await;
    let room_id = room(&mut alice).await;
    let (since, _) = sync(&mut alice, None, Duration::ZERO).await;
    send(&mut alice, &room_id, "before").await;
    world.node("first").process.kill().unwrap();
    let begun = now();
    let next = crate::world::plan("next", "api,persister,sync");
    world.cluster.add(next).unwrap();
    world.node("next").ready().await.unwrap();
    world.all_served().await;
    println!(
        "served again {:.1} s after the kill",
        begun.elapsed().as_secs_f64()
    );
    let mut alice = world.at("next", &alice);
    send(&mut alice, &room_id, "after").await;
    sync_until(&mut alice, since, "before").await;
    let answer = sync(&mut alice, None, Duration::ZERO).await.1;
    assert!(answer.contains("after"));
    world.stop().await;
}

/// Red if an API says that it is ready while nobody serves what it stands on.
#[tokio::test]
async fn an_api_alone_is_not_ready() {
    let mut world = World::spawn(&[("api", "api")]).await;
    crate::world::eventually("it answers", async || {
        let api = world.node("api");
        !api.process.has_ended().unwrap()
            && tokio::net::TcpStream::connect(api.process.address())
                .await
                .is_ok()
            && ready(api).await.1.contains("sync workers")
    })
    .await;
    let (status, missing) = ready(world.node("api")).await;
    assert_eq!(status, 503);
    assert!(missing.contains("slot owners"), "{missing}");
    world
        .cluster
        .add(crate::world::plan("rest", "persister,sync"))
        .unwrap();
    world.node("rest").ready().await.unwrap();
    world.node("api").ready().await.unwrap();
    world.stop().await;
}

/// Red if a process starts over a store whose keys it would look for elsewhere.
#[tokio::test]
async fn who_divides_otherwise_ends_with_64() {
    // The store is divided by whoever is first.
    World::start(&[("all", "api,persister,sync")])
        .await
        .stop()
        .await;
    let (cql, keyspace) = (cql(), keyspace());
    let store = format!(
        "[store]\nengine = \"cql\"\nnodes = [{cql:?}]\nkeyspace = {keyspace:?}\nreplication_factor = 1\n"
    );
    let check = |settings: &str, said: &str| {
        let directory = TempDir::new().unwrap();
        fs::write(
            directory.path().join("hanse.toml"),
            format!("{store}{settings}"),
        )
        .unwrap();
        let (code, stderr) = run_in(directory.path(), &["--listen", "127.0.0.1:0"]);
        assert_eq!(code, 64, "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
    };
    let bus = "[bus]\nredis = [\"redis://127.0.0.1:1\"]\n";
    let other = 2 * SLOTS;
    check(
        &format!("[cluster]\nlisten = \"127.0.0.1:0\"\nslots = {other}\n{bus}"),
        &format!("cluster.slots = {other}: the store is divided into {SLOTS} slots"),
    );
    check(
        &format!(
            "[cluster]\nlisten = \"127.0.0.1:0\"\nslots = {SLOTS}\n{bus}[server]\nname = \"other.org\""
        ),
        "the store belongs to the server localhost",
    );
}
