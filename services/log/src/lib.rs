//! The slot log: append, fence, apply, follow, relay, durable consumers. `docs/log.md` is its page.
//!
//! [`SlotLogs`] owns the slots of this process. A decision is handed in as entries
//! ([`SlotLogs::submit`]); its [`Ticket`] resolves when they are in the log *and* applied to the
//! archives, which is when anybody may see them.
//!
//! Invariant: one batch is in flight for each slot, at `(epoch, next)`; the store refuses any other.
//! Invariant: an unknown outcome is settled by proposing the same batch again, never by a read that
//! says "empty".
//! Invariant: replay of the same entries writes the same rows with the same stamps.
//! Invariant: nothing is published or answered above `applied`.
//! Invariant: no append waits for another slot.
//! Deliberately absent: any Matrix word; the domains hand in their rows through [`Applier`].

mod apply;
mod bus;
mod consumer;
mod error;
mod feed;
mod logs;
mod open;
mod position;
mod relay;
mod rows;
mod slot;
mod statements;
pub mod tables;
mod writer;

pub use bus::{Bus, Heard, Notice};
pub use consumer::Consumer;
pub use error::{AppendError, OpenError};
pub use feed::{AppliedBatch, Follower, LogPoint};
pub use logs::{Basis, LogParts, SlotLogs, Ticket};
pub use position::Position;
pub use rows::{Applier, Rows};
pub use slot::{Slot, SlotMap};
pub use writer::{BATCH_BYTES_MAX, SEGMENT_BYTES_MAX};
