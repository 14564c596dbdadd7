//! What the keeper needs of the logs.

use async_trait::async_trait;
use hanse_log::{OpenError, Slot, SlotLogs, SlotOwner};
use hanse_store::StoreError;
use tokio::sync::watch;

/// The slots as this process can take and give them; [`SlotLogs`] beside tests of the keeper alone.
#[async_trait]
pub trait Slots: Send + Sync + 'static {
    /// All of them.
    fn all(&self) -> Vec<Slot>;

    /// Those that are served here.
    fn served(&self) -> Vec<Slot>;

    /// Changes whenever `served` does.
    fn served_changes(&self) -> watch::Receiver<u64>;

    /// Who stands in a slot's row.
    async fn owner(&self, slot: Slot) -> Result<SlotOwner, StoreError>;

    /// Takes a slot whose row is as observed, and serves it.
    async fn serve(&self, slot: Slot, observed: &SlotOwner) -> Result<(), OpenError>;

    /// Gives a slot up in order, and names who shall take it.
    async fn release(&self, slot: Slot, successor: &str);
}

#[async_trait]
impl Slots for SlotLogs {
    fn all(&self) -> Vec<Slot> {
        self.map().slots().collect()
    }

    fn served(&self) -> Vec<Slot> {
        Self::served(self)
    }

    fn served_changes(&self) -> watch::Receiver<u64> {
        Self::served_changes(self)
    }

    async fn owner(&self, slot: Slot) -> Result<SlotOwner, StoreError> {
        Self::owner(self, slot).await
    }

    async fn serve(&self, slot: Slot, observed: &SlotOwner) -> Result<(), OpenError> {
        Self::serve(self, slot, observed).await
    }

    async fn release(&self, slot: Slot, successor: &str) {
        Self::release(self, slot, successor).await;
    }
}
