//! What is shown, and when (law 4).

use hanse_log::Follower;

use crate::{
    faults::{Fault, Write},
    world::{PATIENCE, Process, S0, S1, World, entry},
};

async fn next_seq(follower: &mut Follower, slot: hanse_log::Slot) -> i64 {
    loop {
        let next = tokio::time::timeout(PATIENCE, follower.next()).await;
        let batch = next.expect("the follower is stuck").unwrap().unwrap();
        if batch.slot == slot {
            return batch.point.seq;
        }
    }
}

/// Red if an answer is sent before the rows are written or `applied` has moved.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_answered_is_applied() {
    let world = World::new();
    let process = world.open().await;
    for i in 0..200 {
        let key = format!("k{i}");
        let position = process.put(S0, &key).await.unwrap();
        assert!(process.logs.applied(S0) >= position);
        assert_eq!(world.points(&key).await, [position.packed()]);
    }
    process.finish().await;
}

/// Red if `applied` or the followers run ahead of the rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_shown_before_its_rows_are_there() {
    let world = World::new();
    let process = world.open().await;
    let mut follower = process.logs.follow();
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let held = Fault::Held(gate.clone());
    let hits = world.faults.arm(Write::Rows, 0, held, 1);
    let before = process.logs.applied(S0);
    let ticket = process.logs.submit(S0, None, vec![entry("a")]).unwrap();
    hits.reach(1).await;
    assert_eq!(world.times_logged(S0, "a").await, 1, "it is in the log");
    let early = tokio::time::timeout(std::time::Duration::from_millis(100), follower.next());
    assert!(early.await.is_err(), "the follower waits");
    assert_eq!(process.logs.applied(S0), before);
    gate.add_permits(1);
    assert_eq!(ticket.applied().await.unwrap().seq(), 1);
    assert_eq!(next_seq(&mut follower, S0).await, 1);
    process.finish().await;
}

async fn put_many(process: &Process, slot: hanse_log::Slot, count: usize) {
    for i in 0..count {
        process
            .put(slot, &format!("k{}.{i}", slot.0))
            .await
            .unwrap();
    }
}

/// Red if a follower that lost batches reads one page of the log and then waits for the next batch
/// (it did: a slot whose batches were all lost stayed a page further until somebody wrote to it).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_lags_gets_every_batch_once() {
    let world = World::new();
    let process = world.open().await;
    let mut follower = process.logs.follow();
    // More than a page in slot 0, and then more than the bus holds in slot 1.
    let counts = [(S0, 300), (S1, 2_200)];
    for (slot, count) in counts {
        put_many(&process, slot, count).await;
    }
    let mut seen = [0_i64; 2];
    let total: usize = counts.iter().map(|(_, count)| count).sum();
    for _ in 0..total {
        let next = tokio::time::timeout(PATIENCE, follower.next()).await;
        let batch = next.expect("the follower is stuck").unwrap().unwrap();
        let seen = &mut seen[batch.slot.0 as usize];
        *seen += 1;
        assert_eq!(batch.point.seq, *seen, "once, and in order");
    }
    assert_eq!(seen, [300, 2_200]);
    process.logs.hang_up();
    assert!(follower.next().await.unwrap().is_none(), "and nothing else");
    process.finish().await;
}

/// Red if a reopening publishes again what was published, or loses what another owner wrote between
/// (memory then holds older batches than `applied`, and gave out an empty page of them).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_goes_on_across_reopenings() {
    let world = World::new();
    let process = world.open().await;
    let mut follower = process.logs.follow();
    put_many(&process, S0, 5).await;
    let lost = world.faults.arm(Write::Append, 0, Fault::UnknownLanded, 1);
    let lost_then = world.faults.arm(Write::Append, 0, Fault::UnknownLost, 7);
    process.put(S0, "in doubt").await.unwrap_err();
    assert_eq!(lost.count() + lost_then.count(), 8);
    process.serves(S0).await;
    process.put(S0, "after").await.unwrap();

    let other = world.open().await;
    put_many(&other, S0, 100).await;
    // A drained owner leaves a checkpoint at its tail: nothing is left to replay.
    other.finish().await;
    assert_eq!(world.checkpoint(S0).await, 107);
    process.put(S0, "fenced").await.unwrap_err();
    process.serves(S0).await;
    for seq in 1..=107 {
        assert_eq!(next_seq(&mut follower, S0).await, seq);
    }
    process.put(S0, "own").await.unwrap();
    assert_eq!(next_seq(&mut follower, S0).await, 108);
    process.finish().await;
}
