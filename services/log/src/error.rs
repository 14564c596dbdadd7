//! What can go wrong when a slot's log is written or read.

use std::sync::Arc;

use hanse_store::StoreError;

use crate::Slot;

/// Why entries were not appended, or why it is not known.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// This process does not own the slot at present, or has just given it up: the entries may or
    /// may not be in the log. A retry is recognised by its transaction id.
    #[error("slot {slot} is not served here at present")]
    SlotLost {
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

/// Why a slot's log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// Others keep taking the slot.
    #[error("slot {slot} was taken by another owner {attempts} times in a row")]
    Contended {
        /// The slot.
        slot: Slot,
        /// How often it was tried.
        attempts: usize,
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
