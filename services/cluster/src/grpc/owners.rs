//! Where this process believes each slot to be served.

use std::{collections::BTreeMap, fmt, sync::Arc};

use hanse_log::{Slot, SlotOwner};
use hanse_store::Store;
use parking_lot::Mutex;

/// What was learnt from the slots' rows and from other processes; at most one name for each slot. A
/// wrong one costs a call.
pub(super) struct Owners {
    store: Arc<dyn Store>,
    known: Mutex<BTreeMap<Slot, String>>,
}

impl fmt::Debug for Owners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Owners").field(&self.known.lock()).finish()
    }
}

impl Owners {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            known: Mutex::default(),
        }
    }

    /// As learnt before.
    pub(super) fn known(&self, slot: Slot) -> Option<String> {
        self.known.lock().get(&slot).cloned()
    }

    /// Another process says so.
    pub(super) fn learn(&self, slot: Slot, owner: &str) {
        self.known.lock().insert(slot, owner.to_owned());
    }

    /// Whoever was known does not serve it.
    pub(super) fn forget(&self, slot: Slot) {
        self.known.lock().remove(&slot);
    }

    /// As the slot's row says now. `None`: it names nobody, or cannot be read.
    pub(super) async fn look(&self, slot: Slot) -> Option<String> {
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
