//! Writes by way of a process that serves no slot.

use std::time::Duration;

use crate::world::{
    World, metric, plan, room, send, send_until_taken, settled, settled_from, sync, sync_until,
};

/// Red if a write does not reach the owner of its slot: from an API alone, after an owner was killed,
/// or while another hands its slots on; or if a repeat of one in doubt is another event.
#[tokio::test]
async fn an_api_writes_through_whoever_serves_the_slot() {
    let nodes = [
        ("api", "api"),
        ("p1", "persister"),
        ("p2", "persister"),
        ("sync", "sync"),
    ];
    let mut world = World::start(&nodes).await;
    let mut alice = world.register("api").await;
    let mut bob = world.register("api").await;
    // Several, so that both persisters have some.
    let mut rooms = Vec::new();
    for _ in 0..8 {
        let room_id = alice
            .create_room(r#"{"preset":"public_chat"}"#)
            .await
            .unwrap();
        bob.join(&room_id).await.unwrap();
        rooms.push(room_id);
    }
    let mut since = settled(&mut bob).await;
    for (number, room_id) in rooms.iter().enumerate() {
        let text = format!("first-{number}");
        send(&mut alice, room_id, &text).await;
        since = sync_until(&mut bob, since, &text).await;
    }

    // Rate and duration of each gRPC method, and where each slot and consumer stands.
    for name in [
        "hanse_grpc_requests_total",
        "hanse_grpc_request_seconds_count",
        "hanse_log_appended_position",
        "hanse_log_applied_position",
        "hanse_log_consumed_position",
    ] {
        assert!(metric(world.node("p1"), name).await > 0, "{name}");
    }

    world.node("p1").process.kill().unwrap();
    for (number, room_id) in rooms.iter().enumerate() {
        let text = format!("killed-{number}");
        let took = send_until_taken(&mut alice, room_id, &text).await;
        println!("{text} {:.1} s", took.as_secs_f64());
    }
    let (token, text) = sync(&mut bob, Some(&since), Duration::from_secs(5)).await;
    let mut seen = text;
    since = token;
    for _ in 0..3 {
        let (token, text) = sync(&mut bob, Some(&since), Duration::from_millis(500)).await;
        (since, seen) = (token, seen + &text);
    }
    for number in 0..rooms.len() {
        let events = seen
            .matches(&format!("\"body\":\"killed-{number}\""))
            .count();
        assert_eq!(events, 1, "killed-{number}");
    }

    world.cluster.add(plan("p3", "persister")).unwrap();
    world.node("p3").ready().await.unwrap();
    world.node("p2").process.terminate().unwrap();
    for round in 0..5 {
        for (number, room_id) in rooms.iter().enumerate() {
            send(&mut alice, room_id, &format!("drained-{round}-{number}")).await;
        }
    }
    world.node("p2").ended_in_order().await.unwrap();
    let since = settled_from(&mut bob, since).await;
    let room_id = room(&mut alice).await;
    send(&mut alice, &room_id, "own").await;
    bob.join(&room_id).await.unwrap_err();
    send(&mut alice, &rooms[0], "last").await;
    sync_until(&mut bob, since, "last").await;
    world.stop().await;
}
