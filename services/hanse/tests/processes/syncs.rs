//! `/sync` by way of a process that is not the worker's.

use std::time::Duration;

use crate::world::{
    World, eventually, long_poll, metric, plan, room, send, settled, settled_from, sync, sync_until,
};

/// One process that owns every slot, so that its clients may write; the others only read.
const OWNER: (&str, &str) = ("owner", "api,persister");

/// Red if a worker does not see what another process applied, with the bus or without, or the API
/// does not ask it.
#[tokio::test]
async fn a_worker_elsewhere_answers_with_and_without_the_bus() {
    let mut world = World::start(&[OWNER, ("api", "api"), ("sync", "sync")]).await;
    let mut alice = world.register("owner").await;
    let room_id = room(&mut alice).await;
    let mut reader = world.at("api", &alice);
    let (since, first) = sync(&mut reader, None, Duration::ZERO).await;
    assert!(first.contains(&room_id));
    send(&mut alice, &room_id, "with").await;
    let since = sync_until(&mut reader, since, "with").await;
    assert!(metric(world.node("api"), "hanse_sync_asked_total").await >= 2);
    world.cluster.redis.kill().unwrap();
    send(&mut alice, &room_id, "without").await;
    sync_until(&mut reader, since, "without").await;

    let refused = reader
        .sync(Some("nonsense"), Duration::ZERO, "")
        .await
        .unwrap_err();
    assert_eq!(refused.to_string(), "400 M_INVALID_PARAM");
    let lists = format!(
        "/_matrix/client/v3/keys/changes?from={first}&to={first}",
        first = read_token(&first)
    );
    reader
        .ok(hanse_loadtest::http::Call::get(lists))
        .await
        .unwrap();
    world.stop().await;
}

fn read_token(text: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(text).unwrap();
    json["next_batch"].as_str().unwrap().to_owned()
}

/// Red if a client is bound to its worker: killed, frozen or drained, the next in rank must answer,
/// with the token of the one before.
#[tokio::test]
async fn another_worker_goes_on_with_the_token() {
    let nodes = [
        OWNER,
        ("api", "api"),
        ("sync-a", "sync"),
        ("sync-b", "sync"),
    ];
    let mut world = World::start(&nodes).await;
    let mut alice = world.register("owner").await;
    let room_id = room(&mut alice).await;
    let mut reader = world.at("api", &alice);
    let since = settled(&mut reader).await;

    // Killed while the client waits.
    let (theirs, other) = worker_of(&mut world, &reader, &since).await;
    let poll = long_poll(&reader, &since);
    waits_at(&mut world, theirs).await;
    world.node(theirs).process.kill().unwrap();
    waits_at(&mut world, other).await;
    send(&mut alice, &room_id, "after-kill").await;
    let (token, text) = poll.await.unwrap();
    assert!(text.contains("after-kill"), "{text}");
    let since = token;

    // Drained: the long poll ends empty, and the client goes on elsewhere.
    world.cluster.add(plan("sync-c", "sync")).unwrap();
    world.node("sync-c").ready().await.unwrap();
    let since = settled_from(&mut reader, since).await;
    let poll = long_poll(&reader, &since);
    let theirs = waiting_at(&mut world, [other, "sync-c"]).await;
    world.node(theirs).process.terminate().unwrap();
    let (token, _) = poll.await.unwrap();
    assert_eq!(token, since, "an empty answer, the same token");
    world.node(theirs).ended_in_order().await.unwrap();
    send(&mut alice, &room_id, "after-drain").await;
    sync_until(&mut reader, since, "after-drain").await;
    world.stop().await;
}

/// Red if what a client waited for goes on at the worker when the client is gone.
#[tokio::test]
async fn a_client_that_goes_away_waits_nowhere() {
    let mut world = World::start(&[OWNER, ("api", "api"), ("sync", "sync")]).await;
    let alice = world.register("owner").await;
    let mut reader = world.at("api", &alice);
    let since = settled(&mut reader).await;
    let poll = long_poll(&reader, &since);
    waits_at(&mut world, "sync").await;
    poll.abort();
    eventually("nobody waits", async || {
        metric(world.node("sync"), "hanse_sync_answers_waiting").await == 0
    })
    .await;
    world.stop().await;
}

async fn waits_at(world: &mut World, name: &'static str) {
    waiting_at(world, [name]).await;
}

/// At which of these workers a client waits.
async fn waiting_at<const N: usize>(world: &mut World, names: [&'static str; N]) -> &'static str {
    let mut found = None;
    eventually("a client waits", async || {
        for name in names {
            if metric(world.node(name), "hanse_sync_answers_waiting").await > 0 {
                found = Some(name);
            }
        }
        found.is_some()
    })
    .await;
    found.unwrap()
}

/// The worker that answers a user, and the other one.
async fn worker_of(
    world: &mut World,
    reader: &hanse_loadtest::User,
    since: &str,
) -> (&'static str, &'static str) {
    let poll = long_poll(reader, since);
    let name = waiting_at(world, ["sync-a", "sync-b"]).await;
    poll.abort();
    eventually("nobody waits", async || {
        metric(world.node(name), "hanse_sync_answers_waiting").await == 0
    })
    .await;
    let other = if name == "sync-a" { "sync-b" } else { "sync-a" };
    (name, other)
}
