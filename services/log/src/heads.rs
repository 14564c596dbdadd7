//! Where each slot stands, for readers in other processes: table `heads`, and what the bus shows.
//!
//! Invariant: positions never go back, and nothing but what was applied is ever told: an old owner's
//! notice is as true as a new one's, only less.

use std::{sync::Arc, time::Duration};

use hanse_store::{
    Direction, Durability, Key, Mutation, Range, Row, Scan, StampedPut, StoreError, Value,
};
use tokio::time::MissedTickBehavior;

use crate::{
    AppliedBatch, Bus, Heard, LogPoint, Notice, Slot,
    sabotage::Sabotage,
    slots::{Inner, SlotShared},
    tables::HEADS,
};

/// Slots whose heads share a partition: one read tells where they all stand.
const HEADS_PER_SHARD: u32 = 256;
/// How often every slot's head is read, whatever the bus says.
const POLL_PERIOD: Duration = Duration::from_secs(2);
/// How often an owner says on the bus where its slots stand.
const HEARTBEAT_PERIOD: Duration = Duration::from_secs(1);

/// Writes a slot's head. The stamp is the batch's, so that of two owners' heads the later batch's
/// stays.
pub(crate) async fn put_head(
    inner: &Inner,
    slot: Slot,
    at: LogPoint,
    stamp: i64,
) -> Result<(), StoreError> {
    let put = StampedPut {
        table: &HEADS,
        key: Key::new(
            vec![i64::from(slot.0 / HEADS_PER_SHARD).into()],
            vec![i64::from(slot.0).into()],
        ),
        values: vec![at.segment.into(), at.seq.into()],
        stamp,
        expires_at_ms: None,
    };
    let mutations = vec![Mutation::Put(put)];
    inner.store.apply(mutations, Durability::Buffered).await
}

/// Reads where every slot stands.
pub(crate) async fn poll_heads(inner: &Inner) -> Result<(), StoreError> {
    let slots = inner.slots.len() as u32;
    for shard in 0..slots.div_ceil(HEADS_PER_SHARD) {
        let scan = Scan {
            table: &HEADS,
            partition: vec![i64::from(shard).into()],
            range: Range::all(),
            direction: Direction::Forward,
            limit: HEADS_PER_SHARD as usize,
        };
        for row in inner.statements.rows(scan).await? {
            if let Some((slot, point)) = head_of(&row)
                && let Some(shared) = inner.slot(slot)
            {
                inner.show_point(shared, point);
            }
        }
    }
    Ok(())
}

fn head_of(row: &Row) -> Option<(Slot, LogPoint)> {
    let slot = row.clustering.first().and_then(Value::as_i64)?;
    let segment = row.values.first().and_then(Value::as_i64)?;
    let seq = row.values.get(1).and_then(Value::as_i64)?;
    Some((Slot(slot as u32), LogPoint { segment, seq }))
}

/// Keeps this process's view of all slots up to date: from the bus, and by polling.
pub(crate) fn watch_others(inner: &Arc<Inner>) {
    let Some(cluster) = &inner.cluster else {
        return;
    };
    let bus = Arc::clone(&cluster.bus);
    let listening = listen(Arc::clone(inner), Arc::clone(&bus));
    inner.tasks.spawn("bus-listen", listening);
    inner.tasks.spawn("heads-poll", poll(Arc::clone(inner)));
    inner
        .tasks
        .spawn("bus-heartbeat", beat(Arc::clone(inner), bus));
}

async fn listen(inner: Arc<Inner>, bus: Arc<dyn Bus>) {
    let soft = inner.tasks.soft().clone();
    let hear = async {
        let mut heard = bus.subscribe();
        while let Some(heard) = heard.recv().await {
            match heard {
                Heard::Notice(notice) => hear(&inner, notice),
                Heard::Subscribed => poll_logged(&inner).await,
            }
        }
        tracing::error!("the bus hung up; only polling is left");
    };
    soft.run_until_cancelled(hear).await;
}

fn hear(inner: &Inner, notice: Notice) {
    let Some(shared) = inner.slot(notice.slot) else {
        return;
    };
    let applied = shared.applied_point();
    if notice.point.seq <= applied.seq {
        return;
    }
    if notice.prev > applied.seq {
        metrics::counter!("hanse_bus_gaps_total").increment(1);
    }
    match notice.entries {
        Some(entries) => inner.show(
            shared,
            &Arc::new(AppliedBatch {
                slot: notice.slot,
                epoch: notice.epoch,
                point: notice.point,
                entries,
            }),
        ),
        None => inner.show_point(shared, notice.point),
    }
}

async fn poll(inner: Arc<Inner>) {
    let soft = inner.tasks.soft().clone();
    // Spread, so that the readers of a cluster do not ask all at once.
    let first = inner.random.below(POLL_PERIOD.as_millis() as u64);
    let poll = async {
        tokio::time::sleep(Duration::from_millis(first)).await;
        let mut period = tokio::time::interval(POLL_PERIOD);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            period.tick().await;
            poll_logged(&inner).await;
        }
    };
    soft.run_until_cancelled(poll).await;
}

async fn poll_logged(inner: &Inner) {
    if let Err(error) = poll_heads(inner).await {
        tracing::warn!(%error, "the heads could not be read");
    }
}

async fn beat(inner: Arc<Inner>, bus: Arc<dyn Bus>) {
    let soft = inner.tasks.soft().clone();
    let beat = async {
        let mut period = tokio::time::interval(HEARTBEAT_PERIOD);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            period.tick().await;
            let silent = inner.saboteur.does(Sabotage::SilentOwner);
            let told = |shared: &&Arc<SlotShared>| shared.is_served() && !silent;
            for shared in inner.slots.iter().filter(told) {
                bus.publish(heartbeat(shared));
            }
        }
    };
    soft.run_until_cancelled(beat).await;
}

fn heartbeat(shared: &SlotShared) -> Notice {
    let point = shared.applied_point();
    Notice {
        slot: shared.slot,
        epoch: shared.epoch(),
        prev: point.seq,
        point,
        entries: None,
    }
}
