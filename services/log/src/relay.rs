//! Cross-slot effects: what an entry causes elsewhere is an entry there, relayed at least once; the
//! target's owner drops repeats by (source slot, position).

use std::collections::BTreeMap;

use async_trait::async_trait;
use hanse_proto::log::{Entry, Relay, RelaySource};

use crate::{AppendError, AppliedBatch, Consumer, Position, Slot, SlotLogs};

/// The consumer that relays.
pub(crate) struct Relayer {
    logs: SlotLogs,
}

impl Relayer {
    pub(crate) fn new(logs: SlotLogs) -> Self {
        Self { logs }
    }

    /// Everything that one entry causes in one slot goes in one batch: its repeats are dropped as
    /// one.
    async fn relay(
        &self,
        source: Slot,
        position: Position,
        entry: &Entry,
    ) -> Result<(), AppendError> {
        let mut by_target: BTreeMap<Slot, Vec<Entry>> = BTreeMap::new();
        for relay in &entry.relays {
            let target = self.logs.slot_of(&relay.key);
            by_target
                .entry(target)
                .or_default()
                .extend(relayed(relay, source, position, entry));
        }
        for (target, entries) in by_target {
            self.logs.submit(target, None, entries)?.applied().await?;
            metrics::counter!("hanse_relayed_total").increment(1);
        }
        Ok(())
    }
}

fn relayed(relay: &Relay, source: Slot, position: Position, cause: &Entry) -> Option<Entry> {
    let mut entry = relay.entry.clone()?;
    entry.relay_source = Some(RelaySource {
        slot: source.0,
        position: position.packed(),
    });
    entry.decided_at_ms = cause.decided_at_ms;
    entry.trace_parent.clone_from(&cause.trace_parent);
    Some(entry)
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
