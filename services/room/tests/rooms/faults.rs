//! A store that refuses.

use futures::future::join_all;
use hanse_log::AppendError;
use hanse_room::RoomError;
use serde_json::json;

use crate::world::{World, assert_chain, user};

/// Sabotage: keep the generation, and so the room's memory, after a refused batch: the next event
/// names one that does not exist.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_batch_leaves_no_hole() {
    let world = World::new().await;
    let ada = user("ada");
    let room = world.public_room(&ada).await;
    let before = world.say(&room, &ada, "before").await;
    world.settle().await;
    world.probe.refuse_appends(1);
    let refused = world.try_say(&room, &ada, "refused").await;
    assert!(matches!(
        refused,
        Err(RoomError::Append(AppendError::Store(_)))
    ));
    let after = world.say(&room, &ada, "after").await;
    let timeline = world.timeline(&room).await;
    assert_chain(&timeline);
    let ids: Vec<_> = timeline.iter().map(|event| event.pdu.event_id()).collect();
    assert_eq!(ids[ids.len() - 2..], [&*before.event_id, &*after.event_id]);
    world.close().await;
}

/// Sabotage: let what was decided on a refused batch through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_among_concurrent_sends_leave_no_hole() {
    let world = World::new().await;
    let ada = user("ada");
    let room = world.public_room(&ada).await;
    let before = world.timeline(&room).await.len();
    let mut sent = Vec::new();
    world.settle().await;
    for round in 0..8 {
        world.probe.refuse_appends(1);
        let texts: Vec<_> = (0..16).map(|n| format!("{round} {n}")).collect();
        let sends = texts.iter().map(|text| world.try_say(&room, &ada, text));
        let done = join_all(sends).await;
        assert!(done.iter().any(Result::is_err), "the refusal was felt");
        sent.extend(done.into_iter().flatten());
    }
    world.say(&room, &ada, "last").await;
    let timeline = world.timeline(&room).await;
    assert_chain(&timeline);
    assert_eq!(timeline.len(), before + sent.len() + 1);
    for event in &sent {
        assert!(
            timeline
                .iter()
                .any(|held| held.pdu.event_id() == event.event_id)
        );
    }
    world.close().await;
}

/// Sabotage: keep refused state in the room's memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_state_is_in_nobodys_way() {
    let world = World::new().await;
    let (ada, ben) = (user("ada"), user("ben"));
    let room = world.public_room(&ada).await;
    world.settle().await;
    world.probe.refuse_appends(1);
    let join = hanse_room::MembershipAction::Join;
    world.member(&room, &ben, &ben, join).await.unwrap_err();
    let refused = world.try_say(&room, &ben, "am I in?").await;
    assert!(matches!(refused, Err(RoomError::Forbidden { .. })));
    world.join(&room, &ben).await;
    let key = ("org.hanse.state", "");
    world.set(&room, &ada, key, json!({ "v": 1 })).await;
    assert_chain(&world.timeline(&room).await);
    world.close().await;
}
