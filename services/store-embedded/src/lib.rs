//! The embedded store engine of the single process: [`hanse_store::Store`] on fjall, a log-structured
//! key-value store written in Rust.
//!
//! Each row is one key-value pair under an order-preserving key; statics are a pair before the rows
//! of their partition. All writes go through one thread, which carries out what waits and answers
//! what is buffered; a second thread makes one fsync for all groups that wait for it, and answers
//! them. Reads run on their callers' threads.
//!
//! Invariant: an answer to a synced write is never given before its fsync, and never after one
//! failed: a failed write to the journal poisons the store until it is opened again, because the
//! kernel may have dropped the pages that it could not write.
//! Invariant: whatever is answered survives the death of the process, fsync or not.
//! Invariant: rows that expired or were deleted leave their stamp behind for [`GRACE_MS`], so that a
//! late write with an older stamp stays invisible.
//! Invariant: only the writer thread reads a row in order to write it.

mod apply;
mod catalog;
mod condition;
mod disk;
mod dump;
mod engine;
mod key;
mod options;
mod purge;
mod read;
mod row;
mod syncer;
mod writer;

pub use engine::EmbeddedStore;
pub use options::{Clock, Durability, OpenError, Options};
pub use purge::GRACE_MS;
