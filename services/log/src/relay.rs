//! Cross-slot effects: what an entry causes elsewhere is an entry there, relayed at least once; the
//! target's owner drops repeats by (source slot, position, part).
//!
//! Invariant: a relay hands on the next effect only after the one before is applied at its target,
//! so that whatever a target has not taken is above what it has.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use async_trait::async_trait;
use hanse_proto::log::{Entry, Relay, RelaySource};

use crate::{
    AppendError, AppliedBatch, Consumer, Position, Slot, SlotLogs, appender::BATCH_BYTES_MAX,
    logs::entry_bytes, slots::Inner,
};

/// The last that a target took from a source: packed position, and part.
pub(crate) type Taken = (i64, i64);

/// The consumer that relays. The logs hold it, so it does not hold them.
pub(crate) struct Relayer {
    inner: Weak<Inner>,
}

impl Relayer {
    pub(crate) fn new(inner: &Arc<Inner>) -> Arc<Self> {
        let inner = Arc::downgrade(inner);
        Arc::new(Self { inner })
    }

    async fn relay(
        &self,
        source: Slot,
        position: Position,
        entry: &Entry,
    ) -> Result<(), AppendError> {
        let gone = AppendError::NotServed { slot: source };
        let inner = self.inner.upgrade().ok_or(gone)?;
        let logs = SlotLogs::of(inner);
        let mut by_target: BTreeMap<Slot, Vec<Entry>> = BTreeMap::new();
        for relay in &entry.relays {
            let target = logs.slot_of(&relay.key);
            by_target
                .entry(target)
                .or_default()
                .extend(relayed(relay, source, position, entry));
        }
        for (target, entries) in by_target {
            for part in parts(entries) {
                hand(&logs, target, part).await?;
                metrics::counter!("hanse_relayed_total").increment(1);
            }
        }
        Ok(())
    }
}

/// To the target's owner, here or elsewhere.
async fn hand(logs: &SlotLogs, target: Slot, entries: Vec<Entry>) -> Result<Position, AppendError> {
    let Some(cluster) = logs.cluster() else {
        return logs.submit(target, None, entries)?.applied().await;
    };
    match logs.submit(target, None, entries.clone()) {
        Ok(ticket) => ticket.applied().await,
        Err(AppendError::NotServed { .. }) => cluster.forward.append(target, entries).await,
        Err(error) => Err(error),
    }
}

fn relayed(relay: &Relay, source: Slot, position: Position, cause: &Entry) -> Option<Entry> {
    let mut entry = relay.entry.clone()?;
    entry.relay_source = Some(RelaySource {
        slot: source.0,
        position: position.packed(),
        part: 0,
    });
    entry.decided_at_ms = cause.decided_at_ms;
    entry.trace_parent.clone_from(&cause.trace_parent);
    Some(entry)
}

/// Everything that one entry causes in one slot, in batches; mostly one. Each is dropped as a whole
/// when it is repeated, and is cut the same way again.
fn parts(entries: Vec<Entry>) -> Vec<Vec<Entry>> {
    let mut parts: Vec<Vec<Entry>> = Vec::new();
    let mut room = 0;
    for mut entry in entries {
        let bytes = entry_bytes(&entry);
        if bytes > room || parts.is_empty() {
            parts.push(Vec::new());
            room = BATCH_BYTES_MAX / 2;
        }
        room = room.saturating_sub(bytes);
        let number = parts.len() - 1;
        if let Some(source) = &mut entry.relay_source {
            source.part = number as u32;
        }
        if let Some(part) = parts.last_mut() {
            part.push(entry);
        }
    }
    parts
}

#[async_trait]
impl Consumer for Relayer {
    type Error = AppendError;

    fn name(&self) -> &'static str {
        "relay"
    }

    async fn consume(&self, batch: &AppliedBatch) -> Result<(), AppendError> {
        for (position, entry) in batch.positioned() {
            if !entry.relays.is_empty() {
                self.relay(batch.slot, position, entry).await?;
            }
        }
        Ok(())
    }
}
