//! Bounds (law 10).

use std::sync::Arc;

use hanse_log::{AppendError, BATCH_BYTES_MAX};
use tokio::sync::Semaphore;

use crate::{
    faults::{Fault, Write},
    world::{S0, World, entry, large_entry},
};

/// Red if the queue is not bounded, or if a full one swallows what it was given.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_says_so() {
    let world = World::new();
    let process = world.open().await;
    let gate = Arc::new(Semaphore::new(0));
    let held = Fault::Held(Arc::clone(&gate));
    let hits = world.faults.arm(Write::Append, 0, held, 1);
    let mut tickets = vec![process.logs.submit(S0, None, vec![entry("first")]).unwrap()];
    hits.reach(1).await;
    let refused = loop {
        let key = format!("k{}", tickets.len());
        match process.logs.submit(S0, None, vec![entry(key)]) {
            Ok(ticket) => tickets.push(ticket),
            Err(error) => break error,
        }
        assert!(tickets.len() < 10_000, "the queue is bounded");
    };
    assert!(matches!(refused, AppendError::Overloaded { slot: S0 }));
    let accepted = tickets.len();
    gate.add_permits(1);
    for ticket in tickets {
        ticket.applied().await.unwrap();
    }
    let log = world.log(S0).await;
    let keys: Vec<_> = log.into_iter().flat_map(|batch| batch.keys).collect();
    assert_eq!(keys.len(), accepted, "the refused one is not there");
    assert_eq!(keys[accepted - 1], format!("k{}", accepted - 1), "in order");
    process.finish().await;
}

/// Red if `submit` does not look at the size, or writes a part.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_beyond_a_batch_are_refused() {
    let world = World::new();
    let process = world.open().await;
    let entries = vec![entry("small"), large_entry("large", BATCH_BYTES_MAX)];
    let refused = process.logs.submit(S0, None, entries);
    assert!(matches!(refused, Err(AppendError::TooLarge { .. })));
    process.logs.barrier(S0).await.unwrap();
    assert_eq!(world.log(S0).await.len(), 0);
    assert_eq!(world.points("small").await.len(), 0);
    process.finish().await;
}

/// Red if the appender adds a submission to a batch without looking at its size (it did: half a
/// batch and a whole one made one of 192 KiB), or forgets or reorders the one that did not fit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_cut_into_batches_within_the_bound() {
    let world = World::new();
    let process = world.open().await;
    let gate = Arc::new(Semaphore::new(0));
    let held = Fault::Held(Arc::clone(&gate));
    let hits = world.faults.arm(Write::Append, 0, held, 1);
    let mut tickets = vec![process.logs.submit(S0, None, vec![entry("k0")]).unwrap()];
    hits.reach(1).await;
    let sizes = [60, 120, 60, 120, 10, 10, 120, 63, 63, 63];
    for (i, kib) in (1..).zip(sizes) {
        let large = large_entry(format!("k{i}"), kib * 1024);
        tickets.push(process.logs.submit(S0, None, vec![large]).unwrap());
    }
    gate.add_permits(1);
    for ticket in tickets {
        ticket.applied().await.unwrap();
    }
    let log = world.log(S0).await;
    assert!(log.iter().all(|batch| batch.bytes <= BATCH_BYTES_MAX));
    assert!(log.iter().any(|batch| batch.keys.len() > 1), "grouped");
    let keys: Vec<_> = log.into_iter().flat_map(|batch| batch.keys).collect();
    let expected: Vec<_> = (0..=sizes.len()).map(|i| format!("k{i}")).collect();
    assert_eq!(keys, expected);
    process.finish().await;
}
