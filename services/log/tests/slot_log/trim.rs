//! Segments leave the log only when nobody needs them any more.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use hanse_log::{AppliedBatch, Consumer, LogPoint, ReadError, Slot};

use crate::{
    faults::{Fault, Write},
    world::{Process, S0, World, eventually, large_entry},
};

const SEGMENT_BYTES: usize = 2_000;

async fn fill(process: &Process, from: usize, count: usize) {
    for i in from..from + count {
        let entry = large_entry(format!("k{i}"), 500);
        process.put_entry(S0, entry).await.unwrap();
    }
}

/// Red if nothing is trimmed, or the floor is not entered, or an old reader is given a gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_applied_and_read_is_trimmed() {
    let world = World::new();
    let process = world.open_small(SEGMENT_BYTES).await;
    fill(&process, 0, 60).await;
    eventually("most of it is trimmed", async || {
        world.trimmed(S0).await >= 10
    })
    .await;
    let floor = world.trimmed(S0).await;
    // Of the first segment the head stays: nobody shall begin the log anew.
    assert_eq!(world.head(S0, 0).await.unwrap()[3], Some(1));
    for segment in 1..floor {
        assert_eq!(world.head(S0, segment).await, None);
    }
    assert!(world.log(S0).await.len() < 20);
    for i in 0..60 {
        assert_eq!(world.points(&format!("k{i}")).await.len(), 1);
    }
    process.finish().await;
    // A new owner finds the log where it begins now.
    let process = world.open_small(SEGMENT_BYTES).await;
    let late = process.logs.read_after(S0, LogPoint::default()).await;
    let Err(ReadError::Trimmed { slot: S0, first }) = late else {
        panic!("a gap was given out");
    };
    assert!(first.segment >= floor);
    fill(&process, 60, 20).await;
    eventually("it goes on", async || world.trimmed(S0).await > floor).await;
    process.finish().await;
}

/// Red if a segment is trimmed without reading its rows back: they would be lost for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_were_lost_are_there_again_before_their_segment_goes() {
    let world = World::new();
    let process = world.open_small(SEGMENT_BYTES).await;
    let swallowed = world.faults.arm(Write::Rows, 0, Fault::Swallowed, 4);
    fill(&process, 0, 4).await;
    assert_eq!(swallowed.count(), 4);
    assert_eq!(world.points("k0").await.len(), 0, "the store lied");
    fill(&process, 4, 60).await;
    eventually("it is trimmed", async || world.trimmed(S0).await >= 3).await;
    for i in 0..64 {
        assert_eq!(world.points(&format!("k{i}")).await.len(), 1, "k{i}");
    }
    process.finish().await;
}

/// Red if trimming does not look at the consumers' cursors, or only at those that have begun.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_consumer_still_needs_stays() {
    struct Slow(AtomicI64);

    #[async_trait]
    impl Consumer for Slow {
        type Error = Infallible;

        fn name(&self) -> &'static str {
            "slow"
        }

        async fn consume(&self, batch: &AppliedBatch) -> Result<(), Infallible> {
            while batch.slot == S0 && batch.point.seq > self.0.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        }
    }

    let mut world = World::new();
    world.expected = vec!["slow"];
    let process = world.open_small(SEGMENT_BYTES).await;
    let slow = Arc::new(Slow(AtomicI64::new(0)));
    process.logs.run_consumer(&slow);
    fill(&process, 0, 60).await;
    let tail = world.log(S0).await.last().unwrap().seq;
    eventually("it could be trimmed", async || {
        world.checkpoint(S0).await == tail
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.trimmed(S0).await, 0);
    process.finish().await;

    let process = world.open_small(SEGMENT_BYTES).await;
    slow.0.store(i64::MAX, Ordering::SeqCst);
    process.logs.run_consumer(&slow);
    eventually("it is trimmed after all", async || {
        world.trimmed(S0).await >= 10
    })
    .await;
    process.finish().await;
}

/// Red if a consumer that comes too late waits for ever for what was trimmed, or is given a gap
/// without being told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_comes_too_late_rebuilds() {
    #[derive(Default)]
    struct Late {
        first: AtomicI64,
        seen: AtomicI64,
    }

    #[async_trait]
    impl Consumer for Late {
        type Error = Infallible;

        fn name(&self) -> &'static str {
            "late"
        }

        async fn consume(&self, batch: &AppliedBatch) -> Result<(), Infallible> {
            if batch.slot == S0 {
                let before = self.seen.swap(batch.point.seq, Ordering::SeqCst);
                assert!(before == 0 || batch.point.seq <= before + 1);
                let first = self.first.load(Ordering::SeqCst);
                assert!(batch.point.seq >= first, "what was rebuilt");
            }
            Ok(())
        }

        async fn rebuild(&self, _: Slot, first: LogPoint) -> Result<(), Infallible> {
            self.first.store(first.seq, Ordering::SeqCst);
            Ok(())
        }
    }

    let world = World::new();
    let process = world.open_small(SEGMENT_BYTES).await;
    fill(&process, 0, 60).await;
    eventually("it is trimmed", async || world.trimmed(S0).await >= 10).await;
    process.finish().await;
    let process = world.open_small(SEGMENT_BYTES).await;
    let late = Arc::new(Late::default());
    process.logs.run_consumer(&late);
    let last = process.put(S0, "last").await.unwrap().seq();
    eventually("it goes on", async || {
        late.seen.load(Ordering::SeqCst) == last
    })
    .await;
    assert!(late.first.load(Ordering::SeqCst) > 10, "it was told");
    process.finish().await;
}
