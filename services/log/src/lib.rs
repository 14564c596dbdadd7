//! The slot log: append, fence, apply, follow, relay, durable consumers. `docs/log.md` is its page.
//!
//! [`SlotLogs`] serves the slots that this process owns and follows all of them. A decision is
//! handed in as entries ([`SlotLogs::submit`]); its [`Ticket`] resolves when they are in the log
//! *and* applied to the archives, which is when anybody may see them.
//!
//! Invariant: one batch is in flight for each slot, at `(epoch, next)`; the store refuses any other.
//! Invariant: an unknown outcome is settled by proposing the same batch again, never by a read that
//! says "empty".
//! Invariant: replay of the same entries writes the same rows with the same stamps.
//! Invariant: nothing is published or answered above `applied`.
//! Invariant: no append waits for another slot.
//! Invariant: a segment is trimmed only after its rows were read back and its consumers have read it.
//! Deliberately absent: any Matrix word; the domains hand in their rows through [`Applier`]. Which
//! process should own which slot: that is for the cluster crate to say.

mod appender;
mod apply;
mod bus;
mod claim;
mod cluster;
mod consumer;
mod error;
mod feed;
mod heads;
mod logs;
mod position;
mod read;
mod relay;
mod replay;
mod rows;
mod sabotage;
mod serving;
mod settle;
mod slot;
mod slots;
mod statements;
pub mod tables;
mod takeover;
mod trim;

pub use appender::{BATCH_BYTES_MAX, SEGMENT_BYTES_MAX};
pub use bus::{Bus, EphemeralBus, Heard, Notice};
pub use claim::SlotOwner;
pub use cluster::{ClusterParts, Forward, Lease};
pub use consumer::Consumer;
pub use error::{AppendError, OpenError, ReadError};
pub use feed::{AppliedBatch, Follower, LogPoint};
pub use logs::{Basis, LogParts, SlotLogs, Ticket};
pub use position::Position;
pub use rows::{Applier, Rows};
#[cfg(feature = "sabotage")]
pub use sabotage::Sabotage;
pub use slot::{Slot, SlotMap};
