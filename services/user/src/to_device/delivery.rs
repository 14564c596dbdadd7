//! Waiting until a relay has arrived. Whoever gets the 200 of a message to a device may send an event
//! that only this message lets one read: the key shall not be later than the event.

use std::{collections::BTreeSet, time::Duration};

use hanse_log::{Position, Slot, tables::RELAYED};
use hanse_store::{Key, StoreError, Table};

use crate::{
    Users,
    archive::{Cells, StoredRow},
};

/// How long a relay is waited for. It arrives all the same.
const RELAY_WAIT_MAX: Duration = Duration::from_secs(1);

/// Up to where a slot has taken another's relays.
struct RelayedRow {
    position: Position,
}

impl StoredRow for RelayedRow {
    fn table() -> &'static Table {
        &RELAYED
    }

    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            position: cells.position("position")?,
        })
    }
}

impl Users {
    /// Returns when what the entry at `position` of the source's slot causes in the targets' slots
    /// is there, or when that takes too long.
    pub(super) async fn await_relayed<'a>(
        &self,
        source: &str,
        position: Position,
        targets: impl Iterator<Item = &'a str>,
    ) {
        let source = self.inner.logs.slot_of(source);
        let targets: BTreeSet<Slot> = targets.map(|key| self.inner.logs.slot_of(key)).collect();
        let arrived = async {
            for target in targets {
                self.await_relayed_to(target, source, position).await?;
            }
            Ok::<_, StoreError>(())
        };
        match tokio::time::timeout(RELAY_WAIT_MAX, arrived).await {
            Ok(Ok(())) => {}
            late => {
                metrics::counter!("hanse_user_relay_late_total").increment(1);
                tracing::debug!(slot = source.0, ?late, "a relay takes long");
            }
        }
    }

    async fn await_relayed_to(
        &self,
        target: Slot,
        source: Slot,
        position: Position,
    ) -> Result<(), StoreError> {
        loop {
            // Taken before the row is read: what is applied in between is not slept through.
            let applied = self.inner.logs.applied(target);
            let key = Key::new([i64::from(target.0).into()], [i64::from(source.0).into()]);
            let taken: Option<RelayedRow> = self.archive().get(key).await?;
            if taken.is_some_and(|taken| taken.position >= position) {
                return Ok(());
            }
            let next = Position::new(applied.seq() + 1, 0);
            self.inner.logs.wait_applied(target, next).await;
        }
    }
}
