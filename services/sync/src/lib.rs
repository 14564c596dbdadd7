//! The sync role: answers `/sync` for online users from memory, and from the archives for what
//! memory does not reach.
//!
//! [`SyncWorker`] follows every slot. An entry of the log wakes just those whom it concerns; they
//! build their answer as of a vector of slot positions, which is the token.
//!
//! Invariant: the vector is chosen first and the user's own slot last; everything is read as of it.
//! Invariant: memory is a cache with floors; losing it costs reads, never an event.
//! Invariant: a token is valid on every worker, at any age, for its own user alone.
//!
//! In a cluster a user's requests go to one worker: [`SyncClient`] finds it, [`SyncServer`] answers.
//! Deliberately absent: writing anything, but that what a device has acknowledged is removed.

mod account_data;
mod answer;
mod ask;
mod devices;
mod ephemeral;
mod error;
mod facts;
mod fields;
mod ignored_users;
mod memory;
mod online;
mod present;
mod remote;
mod rooms;
mod seen;
mod state;
mod summary;
mod timeline;
mod to_device;
mod token;
mod unread;
mod worker;

pub use error::SyncError;
pub use remote::{Answered, BrokenOff, Pieces, ROLE, SyncClient, SyncClientParts, SyncServer};
pub use token::{BadToken, SyncToken, TokenKey};
pub use worker::{SyncParts, SyncWorker};
