//! What can go wrong when a slot's log is written or read.

use std::sync::Arc;

use hanse_store::StoreError;

use crate::{LogPoint, Slot};

/// Why entries were not appended, or why it is not known.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The slot was lost while the entries were under way: they may or may not be in the log. A retry
    /// is recognised by its transaction id.
    #[error("slot {slot} was lost, and it is not known whether it was written")]
    SlotLost {
        /// The slot.
        slot: Slot,
    },
    /// This process does not serve the slot at present. Nothing was written; whoever does may be
    /// asked.
    #[error("slot {slot} is not served here")]
    NotServed {
        /// The slot.
        slot: Slot,
    },
    /// What the entries were decided on is void: load it again and decide again. Nothing was written.
    #[error("the basis of the decision is void")]
    Stale,
    /// Too much waits for this slot. Nothing was written.
    #[error("too much waits for slot {slot}")]
    Overloaded {
        /// The slot.
        slot: Slot,
    },
    /// The entries do not fit into one batch. Nothing was written.
    #[error("the entries have {bytes} bytes, a batch has at most {bytes_max}")]
    TooLarge {
        /// Their size.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// The store refused, and nothing was written.
    #[error("the store refused the batch")]
    Store(#[source] Arc<StoreError>),
}

impl AppendError {
    /// Whether the same decision may be made anew, here or at whoever serves the slot now: nothing
    /// was written, for a reason that does not last.
    pub fn decides_anew(&self) -> bool {
        matches!(self, Self::NotServed { .. } | Self::Stale)
    }
}

/// Why a slot could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// The slot's row is not as it was observed, or a newer owner took the log.
    #[error("slot {slot} was taken by another owner")]
    Contended {
        /// The slot.
        slot: Slot,
    },
    /// This process serves the slot already, or is about to, or still ends doing so.
    #[error("slot {slot} is served here already")]
    Busy {
        /// The slot.
        slot: Slot,
    },
    /// The process drains, or the task that was taking the slot is gone.
    #[error("slot {slot} was not opened: the process ends")]
    Ending {
        /// The slot.
        slot: Slot,
    },
    /// A row of the log does not read back.
    #[error("slot {slot}, batch {seq}: {reason}")]
    Corrupt {
        /// The slot.
        slot: Slot,
        /// The batch.
        seq: i64,
        /// What is wrong.
        reason: String,
    },
}

/// Why a reader did not get the next batches.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// The batches are applied, but the store does not show them yet: to be tried again.
    #[error("slot {slot} does not show yet what is applied")]
    NotYet {
        /// The slot.
        slot: Slot,
    },
    /// The next batches were trimmed: what they changed is to be read from the archives.
    #[error("slot {slot} was trimmed up to batch {}", first.seq)]
    Trimmed {
        /// The slot.
        slot: Slot,
        /// The first batch that is left.
        first: LogPoint,
    },
}
