//! The processes' own gRPC: how one asks another for a slot, tells it of slots, and hands its relay's
//! entries to the owner of their slot.
//!
//! Invariant: each call has a deadline, carried as `grpc-timeout`; past it nothing is begun at the far
//! side. What was begun goes on: its outcome is then not known to whoever asked.
//! Invariant: a call names the process that it is for, and no other does it.
//! Invariant: only entries that name their relay's source are taken, so that a call may be repeated
//! when its outcome is not known.
//! Invariant: a command whose outcome is not known is not sent again, unless it says that its repeat is safe.

mod answer;
mod begun;
mod commands;
mod deadline;
mod forwarder;
mod gate;
mod listener;
mod owners;
mod peers;
mod reach;
mod retries;
mod serve;
mod server;
mod timed;
mod tls;
mod within;

use std::time::Duration;

use hanse_log::BATCH_BYTES_MAX;

pub use answer::CallError;
pub use forwarder::{Forwarder, ForwarderParts};
pub use listener::{ListenError, SlotListener};
pub use peers::Peers;
pub use reach::Remote;
pub use serve::serve;
pub use server::ServerParts;
pub use tls::{Tls, TlsError, TlsFiles};
pub use tonic::service::Routes;
pub(crate) use {owners::Owners, reach::with_deadline, retries::Retries};

/// Largest message, in bytes: an append of one batch, and its frame. (The log counts eight bytes for
/// an entry's own frame, which has at most four.)
pub const MESSAGE_BYTES_MAX: usize = BATCH_BYTES_MAX + 1_024;
/// Largest command, and largest answer to one, in bytes of JSON: a request's body at its default bound,
/// and what is said around it. What is larger is refused with [`hanse_log::AppendError::TooLarge`], so that a
/// deployment that lets in larger bodies than that gains nothing for what is written (nothing but
/// messages to devices may be larger than a batch of the log anyway).
pub const COMMAND_BYTES_MAX: usize = 1_024 * 1_024 + 64 * 1_024;
/// The same with its frame.
const COMMAND_MESSAGE_BYTES_MAX: usize = COMMAND_BYTES_MAX + 1_024;
/// Calls at once to one member on one connection; more wait.
const CALLS_PER_CONNECTION_MAX: usize = 128;
/// Most slots that are told of at once.
pub const SLOTS_TOLD_MAX: usize = 1_024;

/// No call is at work for longer, whatever its caller says.
pub const CALL_TIMEOUT_MAX: Duration = Duration::from_secs(10);
/// For a command, with all its tries: a killed owner's slots are served again before.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);
/// For an append, with the second try.
pub const APPEND_TIMEOUT: Duration = Duration::from_secs(5);
/// For an owner that is asked for a slot.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(8);
/// For a member that is told of its slots.
pub const TELL_TIMEOUT: Duration = Duration::from_secs(1);
