//! How one process asks another for a slot.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use hanse_log::Slot;
use parking_lot::Mutex;

use crate::{Keeper, Member};

/// Why a slot was not handed over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandOverError {
    /// It has been there for too short a time, another is being handed over, or the owner sees other
    /// members at present.
    #[error("the slot stays for another {} ms", wait.as_millis())]
    NotYet {
        /// When to ask again.
        wait: Duration,
    },
    /// The process does not serve it; what it was told makes it look why.
    #[error("the slot is not served there")]
    NotServed,
    /// No answer: the slot may or may not have been released to us.
    #[error("the process gave no answer: {reason}")]
    Unreachable {
        /// What went wrong.
        reason: String,
    },
}

/// The way to the keepers of other processes. At the other end [`Keeper::hand_over`] and
/// [`Keeper::handed`] answer.
#[async_trait]
pub trait HandOver: Send + Sync + 'static {
    /// Asks the owner to give a slot to `successor`; returns when the slot's row names it.
    async fn ask(&self, owner: &Member, slot: Slot, successor: &str) -> Result<(), HandOverError>;

    /// Tells a member that these slots' rows name it now. May be lost.
    async fn tell(&self, successor: &Member, slots: &[Slot]);
}

/// For processes that share an address space, as in tests and in the simulation.
#[derive(Default)]
pub struct InProcess {
    keepers: Mutex<BTreeMap<String, Keeper>>,
}

impl InProcess {
    /// Makes a member's keeper known to the others.
    pub fn add(&self, id: &str, keeper: Keeper) {
        self.keepers.lock().insert(id.to_owned(), keeper);
    }

    fn keeper(&self, id: &str) -> Option<Keeper> {
        self.keepers.lock().get(id).cloned()
    }
}

#[async_trait]
impl HandOver for InProcess {
    async fn ask(&self, owner: &Member, slot: Slot, successor: &str) -> Result<(), HandOverError> {
        let Some(keeper) = self.keeper(&owner.id) else {
            let reason = "no such process".to_owned();
            return Err(HandOverError::Unreachable { reason });
        };
        keeper.hand_over(slot, successor).await
    }

    async fn tell(&self, successor: &Member, slots: &[Slot]) {
        if let Some(keeper) = self.keeper(&successor.id) {
            keeper.handed(slots.to_vec()).await;
        }
    }
}
