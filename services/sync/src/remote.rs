//! Answering users by the worker that is theirs, in whichever process it is.
//!
//! Each user has one worker, by rendezvous hashing among the members that take the role: for warm
//! memory alone, since a token is valid on every worker. [`SyncClient`] asks it, and the next in rank
//! where it does not answer; [`SyncServer`] is the end that answers.
//!
//! Invariant: an answer is complete before its first byte is sent, so that whatever fails before may
//! be asked again elsewhere.
//! Invariant: whoever goes away ends what was asked for them, at both ends.

mod client;
mod pieces;
mod question;
mod server;

use std::time::Duration;

pub use client::{Answered, SyncClient, SyncClientParts};
pub use pieces::{BrokenOff, Pieces};
pub use server::SyncServer;

/// The role's name among members.
pub const ROLE: &str = "sync";

/// What an answer may take besides the time that its client is ready to wait.
const SLACK: Duration = Duration::from_secs(30);
/// One piece of an answer, in bytes.
const PIECE_BYTES: usize = 32 * 1024;
/// Largest question, in bytes: the query of a request, which is bounded itself, and its frame.
const QUESTION_BYTES_MAX: usize = 2 * 1024 * 1024;
