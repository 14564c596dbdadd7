//! Where this process believes each slot to be served.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use hanse_log::{Slot, SlotOwner};
use hanse_runtime::Clock;
use hanse_store::Store;
use parking_lot::Mutex;

/// What was learnt from the slots' rows and from other processes; at most one name for each slot. A
/// wrong one costs a call.
pub(crate) struct Owners {
    store: Arc<dyn Store>,
    known: Mutex<BTreeMap<Slot, String>>,
    /// When each slot's row was read last, for those who share readings.
    looked: Mutex<BTreeMap<Slot, Arc<LookedAt>>>,
}

/// Held by whoever reads a slot's row; by the monotonic clock.
type LookedAt = tokio::sync::Mutex<Option<Duration>>;

/// A shared reading is not repeated for so long.
const LOOK_GAP: Duration = Duration::from_millis(100);

impl fmt::Debug for Owners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Owners").field(&self.known.lock()).finish()
    }
}

impl Owners {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            known: Mutex::default(),
            looked: Mutex::default(),
        }
    }

    /// As learnt before.
    pub(crate) fn known(&self, slot: Slot) -> Option<String> {
        self.known.lock().get(&slot).cloned()
    }

    /// Another process says so.
    pub(crate) fn learn(&self, slot: Slot, owner: &str) {
        self.known.lock().insert(slot, owner.to_owned());
    }

    /// Whoever was known does not serve it.
    pub(crate) fn forget(&self, slot: Slot) {
        self.known.lock().remove(&slot);
    }

    /// This one cannot be asked. What another learnt since stays: of many who wait for a slot only one reads its
    /// row, and the others must not undo it.
    pub(crate) fn forget_that(&self, slot: Slot, owner: &str) {
        let mut known = self.known.lock();
        if known.get(&slot).is_some_and(|known| known == owner) {
            known.remove(&slot);
        }
    }

    /// As learnt, or as the slot's row says. However many ask, the row is read once in a
    /// [`LOOK_GAP`]: in between, what was forgotten is not known.
    pub(crate) async fn find(&self, slot: Slot, clock: &dyn Clock) -> Option<String> {
        if let Some(known) = self.known(slot) {
            return Some(known);
        }
        let looked = Arc::clone(self.looked.lock().entry(slot).or_default());
        let mut looked = looked.lock().await;
        // Whoever had it before us may have learnt.
        if let Some(known) = self.known(slot) {
            return Some(known);
        }
        let now = clock.monotonic();
        if looked.is_some_and(|last| now < last + LOOK_GAP) {
            return None;
        }
        *looked = Some(now);
        self.look(slot).await
    }

    /// As the slot's row says now. `None`: it names nobody, or cannot be read.
    pub(crate) async fn look(&self, slot: Slot) -> Option<String> {
        let row = SlotOwner::glance(self.store.as_ref(), slot).await;
        let row = row.inspect_err(|error| {
            tracing::warn!(slot = slot.0, %error, "the slot's row could not be read");
        });
        let owner = row.ok().flatten().map(|row| row.owner);
        let owner = owner.filter(|owner| !owner.is_empty());
        match &owner {
            Some(owner) => self.learn(slot, owner),
            None => self.forget(slot),
        }
        owner
    }
}

#[cfg(test)]
mod tests {
    use hanse_store_embedded::{EmbeddedStore, Options};

    use super::*;

    /// Red if one that waits for a slot undoes what another has just learnt.
    #[tokio::test]
    async fn only_that_one_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let options = Options::new(Arc::new(|| 0));
        let store = EmbeddedStore::open(directory.path(), options).unwrap();
        let owners = Owners::new(store);
        let slot = Slot(3);
        owners.learn(slot, "new");
        owners.forget_that(slot, "old");
        assert_eq!(owners.known(slot).as_deref(), Some("new"));
        owners.forget_that(slot, "new");
        assert_eq!(owners.known(slot), None);
    }
}
