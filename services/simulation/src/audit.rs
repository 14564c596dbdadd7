//! Who reads the logs in a process: a durable consumer, and live followers.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use hanse_log::{AppliedBatch, Consumer, ReadError, SlotLogs};
use parking_lot::Mutex;
use tokio::time::sleep;

use crate::{dice::Dice, executor::ProcessId, truth::Truth, world::Ground};

/// The durable consumer: its work takes its time, and fails at times.
pub(crate) struct Audit {
    truth: Arc<Truth>,
    dice: Dice,
}

impl Audit {
    pub(crate) const NAME: &'static str = "audit";

    pub(crate) fn new(truth: Arc<Truth>, dice: Dice) -> Arc<Self> {
        Arc::new(Self { truth, dice })
    }
}

/// The work of a consumer failed.
pub(crate) struct WorkFailed;

impl fmt::Display for WorkFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the work failed")
    }
}

#[async_trait]
impl Consumer for Audit {
    type Error = WorkFailed;

    fn name(&self) -> &'static str {
        Self::NAME
    }

    async fn consume(&self, batch: &AppliedBatch) -> Result<(), WorkFailed> {
        let (slot, seq) = (batch.slot.0, batch.point.seq);
        self.truth.consuming(Self::NAME, slot, seq);
        self.truth
            .handed(slot, batch.point, &batch.entries, Self::NAME);
        if self.dice.chance(20) {
            sleep(self.dice.long_tailed_ms(1..=3_000)).await;
        }
        if self.dice.chance(10) {
            return Err(WorkFailed);
        }
        self.truth.consumed_one(Self::NAME, slot, seq);
        Ok(())
    }
}

/// How far a follower has come in each slot.
pub(crate) type Seen = Arc<Mutex<BTreeMap<u32, i64>>>;

/// Follows every slot for as long as the process lives, now and then too slowly.
pub(crate) async fn follow(
    ground: Arc<Ground>,
    process: ProcessId,
    logs: SlotLogs,
    dice: Dice,
    seen: Seen,
) {
    let truth = &ground.truth;
    let mut follower = logs.follow();
    for (slot, position) in follower.positions() {
        truth.shown(slot.0, position.seq(), "a follower's start");
        seen.lock().insert(slot.0, position.seq());
    }
    loop {
        match follower.next().await {
            Ok(Some(batch)) => took(&ground, process, &batch, &seen),
            Ok(None) => return,
            Err(ReadError::Trimmed { slot, first }) => skipped(&ground, slot.0, first.seq, &seen),
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
        if dice.chance(5) {
            sleep(dice.long_tailed_ms(10..=10_000)).await;
        }
    }
}

fn took(ground: &Ground, process: ProcessId, batch: &AppliedBatch, seen: &Seen) {
    let (slot, seq) = (batch.slot.0, batch.point.seq);
    let before = seen.lock().insert(slot, seq).unwrap_or_default();
    if seq != before + 1 {
        ground.scene.violated(
            "a follower sees every batch once, in order",
            format_args!("{process}, slot {slot}: {seq} after {before}"),
        );
    }
    ground.scene.tally.count("batches followed");
    let truth = &ground.truth;
    truth.handed(slot, batch.point, &batch.entries, "a follower");
}

/// The follower was told that what it has not seen is gone: that must be so.
fn skipped(ground: &Ground, slot: u32, first: i64, seen: &Seen) {
    let before = seen.lock().insert(slot, first - 1).unwrap_or_default();
    ground.scene.tally.count("followers too late for a trim");
    let there = (before + 1..first).find(|seq| !ground.truth.is_trimmed(slot, *seq));
    if let Some(there) = there {
        ground.scene.violated(
            "a follower sees every batch once, in order",
            format_args!("slot {slot}: {there} is not trimmed, and was left out"),
        );
    }
}

/// Looks again and again at what this process shows.
pub(crate) async fn peek(ground: Arc<Ground>, process: ProcessId, logs: SlotLogs, dice: Dice) {
    let mut before: BTreeMap<u32, i64> = BTreeMap::new();
    loop {
        sleep(dice.ms(1..=500)).await;
        for slot in logs.map().slots() {
            let applied = logs.applied(slot).seq();
            ground.truth.shown(slot.0, applied, "applied");
            let last = before.insert(slot.0, applied);
            if last.is_some_and(|last| last > applied) {
                ground.scene.violated(
                    "applied never goes back",
                    format_args!("{process}, slot {slot}: {applied} after {last:?}"),
                );
            }
        }
    }
}
