//! The processes' own gRPC: how one asks another for a slot, tells it of slots, and hands its relay's
//! entries to the owner of their slot.
//!
//! Invariant: each call has a deadline, carried as `grpc-timeout`; past it nothing is begun at the far
//! side. What was begun goes on: its outcome is then not known to whoever asked.
//! Invariant: a call names the process that it is for, and no other does it.
//! Invariant: only entries that name their relay's source are taken, so that a call may be repeated
//! when its outcome is not known.

mod answer;
mod deadline;
mod forwarder;
mod listener;
mod owners;
mod peers;
mod reach;
mod server;

use std::time::Duration;

use hanse_log::BATCH_BYTES_MAX;

pub use answer::CallError;
pub use forwarder::{Forwarder, ForwarderParts};
pub use listener::{ListenError, SlotListener};
pub use peers::Peers;
pub use reach::Remote;
pub use server::ServerParts;

/// Largest message, in bytes: an append of one batch, and its frame. (The log counts eight bytes for
/// an entry's own frame, which has at most four.)
pub const MESSAGE_BYTES_MAX: usize = BATCH_BYTES_MAX + 1_024;
/// Most slots that are told of at once.
pub const SLOTS_TOLD_MAX: usize = 1_024;

/// No call is at work for longer, whatever its caller says.
pub const CALL_TIMEOUT_MAX: Duration = Duration::from_secs(10);
/// For an append, with the second try.
pub const APPEND_TIMEOUT: Duration = Duration::from_secs(5);
/// For an owner that is asked for a slot.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(8);
/// For a member that is told of its slots.
pub const TELL_TIMEOUT: Duration = Duration::from_secs(1);
