//! Durable consumers.

use std::{convert::Infallible, sync::Arc};

use async_trait::async_trait;
use hanse_log::{AppliedBatch, Consumer};
use parking_lot::Mutex;

use crate::{
    faults::{Fault, Write},
    world::{S0, World, entry, eventually},
};

#[derive(Default)]
struct Collector {
    seen: Mutex<Vec<i64>>,
}

#[async_trait]
impl Consumer for Collector {
    type Error = Infallible;

    fn name(&self) -> &'static str {
        "collector"
    }

    async fn consume(&self, batch: &AppliedBatch) -> Result<(), Infallible> {
        if batch.slot == S0 {
            self.seen.lock().push(batch.point.seq);
        }
        Ok(())
    }
}

impl Collector {
    async fn sees(&self, seq: i64) {
        eventually("the consumer sees it", async || {
            self.seen.lock().last() == Some(&seq)
        })
        .await;
    }

    /// What was seen since the last call; fails unless it is without a gap. It may start over where
    /// the slot was lost between.
    fn take(&self) -> Vec<i64> {
        let mut seen = std::mem::take(&mut *self.seen.lock());
        assert!(
            seen.windows(2).all(|pair| pair[1] <= pair[0] + 1),
            "{seen:?}"
        );
        seen.sort_unstable();
        seen.dedup();
        seen
    }
}

/// Red if a cursor is written ahead of what was consumed, moves back, or is not read at the start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_sees_everything_at_least_once() {
    let world = World::new();
    let collector = Arc::new(Collector::default());
    let (mut last, mut cursor, mut repeated) = (0, None, 0);
    for round in 0..4 {
        let process = world.open().await;
        process.logs.run_consumer(&collector);
        for i in 0..300 {
            last = process
                .put(S0, &format!("{round}.{i}"))
                .await
                .unwrap()
                .seq();
        }
        collector.sees(last).await;
        let now = world.cursor(S0, "collector").await;
        assert!(now >= cursor, "a cursor never goes back");
        assert!(now.is_none_or(|now| now >> 16 <= last));
        process.kill().await;
        let first = collector.take()[0];
        let resumed = cursor.map_or(1, |cursor: i64| (cursor >> 16) + 1);
        assert!(first <= last - 299, "nothing is left out");
        assert!(first >= resumed, "it starts at its cursor");
        repeated += usize::from(first < last - 299);
        cursor = now;
    }
    assert!(cursor.is_some(), "the cursor was written under load");
    assert!(repeated > 0, "an abrupt end made it repeat");
}

/// Red if a cursor that could not be written stops the consumer, or makes it skip.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_that_is_in_doubt_is_read_again() {
    let world = World::new();
    let collector = Arc::new(Collector::default());
    // Its name is in both slots' cursors; the relay's cursor of slot 0 may take one of the faults.
    let process = world.open().await;
    let hits = world.faults.arm(Write::Cursor, 0, Fault::UnknownLanded, 2);
    process.logs.run_consumer(&collector);
    process.put(S0, "a").await.unwrap();
    hits.reach(2).await;
    process.put(S0, "b").await.unwrap();
    collector.sees(2).await;
    process.finish().await;
    let seen = collector.seen.lock().clone();
    assert!(seen == [1, 2] || seen == [1, 1, 2], "{seen:?}");
}

/// Red if memory that lacks what another owner wrote is taken for the whole: the consumer then asked
/// for ever and was given nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_sees_what_another_owner_wrote() {
    let world = World::new();
    let collector = Arc::new(Collector::default());
    let process = world.open().await;
    process.logs.run_consumer(&collector);
    process.put(S0, "own").await.unwrap();
    collector.sees(1).await;
    let other = world.open().await;
    for key in ["a", "b"] {
        other.put(S0, key).await.unwrap();
    }
    other.finish().await;
    assert_eq!(world.checkpoint(S0).await, 3, "nothing is left to replay");
    let fenced = process.logs.submit(S0, None, vec![entry("fenced")]);
    fenced.unwrap().applied().await.unwrap_err();
    process.serves(S0).await;
    collector.sees(3).await;
    assert_eq!(collector.take(), [1, 2, 3]);
    process.finish().await;
}
