//! Everything keyed by room: the append pipeline, the archives, and reading them.
//!
//! [`Rooms`] changes rooms: each change is a command (`commands.rs`) that is run at the process that
//! serves the room's slot, here or elsewhere. [`RoomReader`] reads any room from the
//! archives, as of positions; [`room_rows`] is the only writer of the archives.
//!
//! Invariant: a change is decided on the room's memory under its lock, and on nothing else.
//! Invariant: the lock is not held while the log is waited for, so that events of one room share
//! batches; but an event from elsewhere that does not follow the room's end is decided on the
//! archives, and waits until everything before it is there; and what does not fit into one batch is
//! written under the lock.
//! Invariant: a send reads a constant number of rows, however many members the room has.
//! Deliberately absent: HTTP, and anything that waits for the network.

mod cells;
mod commands;
mod create;
mod device_changes;
mod entry;
mod error;
mod graph;
mod hot;
mod install;
mod many_ends;
mod membership;
mod out_of_band;
mod read;
mod receipts;
mod receive;
mod redact;
mod reference_hashes;
mod rooms;
mod rows;
mod stripped;
mod tables;
mod typing;
mod written;

pub use create::NewRoom;
pub use device_changes::CONSUMER as DEVICE_CHANGES;
pub use error::RoomError;
pub use install::{INSTALLED_MAX, Installed, InstalledCounts, Staged, Staging};
pub use membership::{MembershipAction, MembershipChange};
pub use out_of_band::Told;
pub use read::{
    Aggregated, Arrivals, GapAt, Head, HistoryPage, HistoryPoint, Lens, ReceiptAt, Related,
    RoomReader, StateAt, StateChangeAt, StateIds, TimelineEvent, TimelinePage, TimelinePoint,
    UserRoom,
};
pub use receipts::NewReceipt;
pub use receive::{Arrived, FETCHED_IDS_MAX, Fate, Fetched, RECEIVED_MAX};
pub use redact::Redaction;
pub use rooms::{NewEvent, RoomParts, Rooms, Sent};
pub use rows::room_rows;
pub use tables::{TransactionKey, tables};
pub use typing::{Typing, TypingPoint};

/// Events of one arrival bucket.
pub(crate) const EVENTS_PER_BUCKET: i64 = 512;
/// A depth bucket holds `2^9` depths.
pub(crate) const DEPTH_BUCKET_BITS: u32 = 9;
