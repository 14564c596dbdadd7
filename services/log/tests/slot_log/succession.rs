//! A segment that is full is succeeded by the next.

use std::{convert::Infallible, sync::Arc};

use async_trait::async_trait;
use hanse_log::{AppliedBatch, Consumer, LogPoint, ReadError, SlotLogs, tables::LOG};
use hanse_store::{ConditionalBatch, ConditionalStep, Outcome, Store};
use tokio::sync::Semaphore;

use crate::{
    faults::{Fault, Write},
    world::{Process, S0, World, large_entry},
};

const SEGMENT_BYTES: usize = 2_000;

/// Keeps the log from being trimmed.
struct Stuck;

#[async_trait]
impl Consumer for Stuck {
    type Error = Infallible;

    fn name(&self) -> &'static str {
        "stuck"
    }

    async fn consume(&self, _: &AppliedBatch) -> Result<(), Infallible> {
        std::future::pending().await
    }
}

async fn fill(process: &Process, count: usize) {
    for i in 0..count {
        let entry = large_entry(format!("k{i}"), 500);
        // The slot may be lost between; what may have landed is not written again.
        while process.logs.submit(S0, None, Vec::new()).is_err() {
            process.serves(S0).await;
        }
        process.put_entry(S0, entry.clone()).await.unwrap();
    }
}

/// Reads the slot from its beginning, or from where it was trimmed.
async fn read_all(logs: &SlotLogs) -> Vec<i64> {
    let mut at = LogPoint::default();
    let mut seqs = Vec::new();
    loop {
        let batches = match logs.read_after(S0, at).await {
            Err(ReadError::Trimmed { first, .. }) => {
                at = LogPoint {
                    seq: first.seq - 1,
                    ..first
                };
                continue;
            }
            read => read.unwrap(),
        };
        let Some(last) = batches.last() else {
            return seqs;
        };
        at = last.point;
        seqs.extend(batches.iter().map(|batch| batch.point.seq));
    }
}

/// Red if a reader stops at a segment's end, or a successor does not carry on `next` and `stamp_end`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_goes_on_across_segments() {
    let world = World::new();
    let process = world.open_small(SEGMENT_BYTES).await;
    process.logs.run_consumer(&Arc::new(Stuck));
    fill(&process, 100).await;
    assert_eq!(read_all(&process.logs).await, (1..=100).collect::<Vec<_>>());
    process.kill().await;
    let process = world.open_small(SEGMENT_BYTES).await;
    process.logs.run_consumer(&Arc::new(Stuck));
    let left = read_all(&process.logs).await;
    assert_eq!(left, (left[0]..=100).collect::<Vec<_>>());
    assert_eq!(process.put(S0, "next").await.unwrap().seq(), 101);
    let log = world.log(S0).await;
    let open = log.last().unwrap().segment;
    assert!(open >= 20, "{open} segments");
    for segment in log[0].segment..open {
        let head = world.head(S0, segment).await.unwrap();
        assert_eq!((head[1], head[3]), (Some(-1), Some(segment + 1)), "sealed");
    }
    process.finish().await;
}

/// Red if a slot whose segment could not be sealed stays lost, or goes on in the successor although
/// the seal was not applied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seal_in_doubt_is_settled_by_the_next_takeover() {
    for fault in [Fault::UnknownLost, Fault::UnknownLanded, Fault::Unavailable] {
        let world = World::new();
        let process = world.open_small(SEGMENT_BYTES).await;
        let hits = world.faults.arm(Write::Seal, 0, fault, 1);
        fill(&process, 4).await;
        hits.reach(1).await;
        process.serves(S0).await;
        fill(&process, 4).await;
        let head = world.head(S0, 0).await.unwrap();
        assert_eq!(head[3], Some(1), "sealed before anything follows");
        assert_eq!(world.log(S0).await.len(), 8);
        assert_eq!(read_all(&process.logs).await, (1..=8).collect::<Vec<_>>());
        process.finish().await;
    }
}

/// Red if batches go into a successor before the seal, or a takeover leaves the succession
/// unfinished.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_dies_before_the_seal_is_succeeded() {
    let world = World::new();
    let process = world.open_small(SEGMENT_BYTES).await;
    let held = Fault::Held(Arc::new(Semaphore::new(0)));
    let hits = world.faults.arm(Write::Seal, 0, held, 1);
    fill(&process, 4).await;
    hits.reach(1).await;
    let waiting = process.logs.submit(S0, None, vec![large_entry("w", 1)]);
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert!(world.head(S0, 1).await.is_some(), "created, not sealed");
    assert_eq!(world.head(S0, 0).await.unwrap()[3], None);
    assert_eq!(world.log(S0).await.len(), 4, "nothing is in the successor");
    process.kill().await;
    waiting.unwrap().applied().await.unwrap_err();

    let process = world.open_small(SEGMENT_BYTES).await;
    assert_eq!(world.head(S0, 0).await.unwrap()[3], Some(1), "sealed");
    fill(&process, 4).await;
    assert_eq!(world.log(S0).await.len(), 8);
    process.finish().await;
}

/// What a former owner's creation leaves that lands only now.
async fn create_late(world: &World, segment: i64, [epoch, next, stamp_end]: [i64; 3]) {
    let set = vec![
        ("epoch", epoch.into()),
        ("next", next.into()),
        ("stamp_end", stamp_end.into()),
    ];
    let batch = ConditionalBatch {
        table: &LOG,
        partition: vec![0.into(), segment.into()],
        steps: vec![ConditionalStep::InsertStaticsIfNotExists { set }],
    };
    let outcome = world.embedded.conditional(batch).await.unwrap();
    assert_eq!(outcome, Outcome::Applied);
}

/// Red if a takeover links to a successor as it finds it, or refuses to because its `next` is not
/// the segment's (it did: the slot could never be opened again), or leaves it the older epoch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_successor_is_corrected_before_it_is_used() {
    let world = World::new();
    for _ in 0..3 {
        world.open().await.finish().await;
    }
    let process = world.open_small(SEGMENT_BYTES).await;
    fill(&process, 2).await;
    let epoch = world.head(S0, 0).await.unwrap()[0].unwrap();
    create_late(&world, 1, [1, 2, 5]).await;
    // The owner meets it when its segment is full, …
    fill(&process, 2).await;
    process.serves(S0).await;
    fill(&process, 2).await;
    process.kill().await;
    let successor = world.head(S0, 1).await.unwrap();
    assert!(successor[0].unwrap() > epoch, "{successor:?}");
    let log = world.log(S0).await;
    assert_eq!(log.len(), 6);
    assert_eq!(log.last().unwrap().segment, 1);
    // … or a new owner when it opens the slot.
    create_late(&world, 2, [1, 3, 5]).await;
    let process = world.open_small(SEGMENT_BYTES).await;
    fill(&process, 3).await;
    let log = world.log(S0).await;
    assert_eq!((log.len(), log.last().unwrap().segment), (9, 2));
    assert_eq!(read_all(&process.logs).await, (1..=9).collect::<Vec<_>>());
    process.finish().await;
}
