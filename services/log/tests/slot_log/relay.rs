//! Cross-slot effects (law 6).

use hanse_log::{Slot, tables::CURSORS};
use hanse_store::{ConditionalBatch, ConditionalStep, Outcome, Store};

use crate::{
    faults::{Fault, Write},
    world::{Process, S0, S1, World, eventually, relaying},
};

/// A key of the slot.
fn key_in(process: &Process, slot: Slot) -> String {
    let keys = (0..).map(|i| format!("target{i}"));
    let mut keys = keys.filter(|key| process.logs.slot_of(key) == slot);
    keys.next().unwrap()
}

/// What arrived in slot 1, in the log's order; fails unless its sources go up.
async fn arrived(world: &World) -> Vec<String> {
    let mut last = 0;
    let mut keys = Vec::new();
    for batch in world.log(S1).await {
        for (key, source) in batch.keys.into_iter().zip(batch.sources) {
            let source = source.expect("relayed");
            assert_eq!(source.slot, 0);
            assert!(source.position > last, "once, and in the source's order");
            last = source.position;
            keys.push(key);
        }
    }
    keys
}

async fn all_arrive(world: &World, expected: &[String]) {
    eventually("everything arrives", async || {
        arrived(world).await.len() >= expected.len()
    })
    .await;
    assert_eq!(arrived(world).await, expected);
    for key in expected {
        // In the log is not applied yet.
        eventually("it is applied", async || {
            !world.points(key).await.is_empty()
        })
        .await;
        assert_eq!(world.points(key).await.len(), 1, "{key}");
    }
}

/// Removes the relay's cursor, as if it had never been written.
async fn forget_cursor(world: &World) -> bool {
    let Some(position) = world.cursor(S0, "relay").await else {
        return false;
    };
    let step = ConditionalStep::Delete {
        clustering: vec!["relay".into()],
        conditions: vec![("position", position.into())],
    };
    let batch = ConditionalBatch {
        table: &CURSORS,
        partition: vec![0.into()],
        steps: vec![step],
    };
    world.embedded.conditional(batch).await.unwrap() == Outcome::Applied
}

/// Red if the target does not drop repeats by source position, or forgets at a restart which it
/// took (`OpenSlot::relayed`).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_relay_arrives_once() {
    let world = World::new();
    let mut process = world.open().await;
    let target = key_in(&process, S1);
    let mut expected = Vec::new();
    for round in 0..3 {
        for i in 0..10 {
            let key = format!("r{round}.{i}");
            let entry = relaying(&key, &[target.as_str()]);
            process.put_entry(S0, entry).await.unwrap();
            expected.push(format!("{target}<-{key}"));
        }
        all_arrive(&world, &expected).await;
        // Twice abruptly, before the cursor was written; once with the cursor taken away.
        if round == 1 {
            eventually("the cursor is written", async || {
                world.cursor(S0, "relay").await.is_some()
            })
            .await;
        }
        process.kill().await;
        assert_eq!(forget_cursor(&world).await, round == 1);
        process = world.open().await;
    }
    // All of it is relayed once more: its end is there when the cursor is.
    eventually("it was repeated", async || {
        world.cursor(S0, "relay").await.is_some()
    })
    .await;
    all_arrive(&world, &expected).await;
    process.finish().await;
}

/// Red if the target remembers a relayed position before its batch is in the log: the repeat was
/// dropped, and the effect lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_the_store_refused_arrives_later() {
    let world = World::new();
    let process = world.open().await;
    let target = key_in(&process, S1);
    let hits = world.faults.arm(Write::Append, 1, Fault::Unavailable, 1);
    let mut expected = Vec::new();
    for key in ["a", "b"] {
        let entry = relaying(key, &[target.as_str()]);
        process.put_entry(S0, entry).await.unwrap();
        expected.push(format!("{target}<-{key}"));
    }
    all_arrive(&world, &expected).await;
    assert_eq!(hits.count(), 1);
    process.finish().await;
}

/// Red if one entry's effects in one slot are more than one batch: the second would be dropped as a
/// repeat of the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_effects_of_one_entry_arrive_together() {
    let world = World::new();
    let process = world.open().await;
    let target = key_in(&process, S1);
    let own = key_in(&process, S0);
    let entry = relaying("a", &[target.as_str(), own.as_str(), target.as_str()]);
    process.put_entry(S0, entry).await.unwrap();
    let (there, here) = (format!("{target}<-a"), format!("{own}<-a"));
    eventually("both slots have it", async || {
        world.points(&there).await.len() == 2 && world.points(&here).await.len() == 1
    })
    .await;
    assert_eq!(world.log(S1).await[0].keys, [there.clone(), there]);
    process.finish().await;
}
