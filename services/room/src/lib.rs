//! Everything keyed by room: the append pipeline, the archives, and reading them.
//!
//! [`Rooms`] changes rooms whose slots this process owns; [`RoomReader`] reads any room from the
//! archives, as of positions; [`room_rows`] is the only writer of the archives.
//!
//! Invariant: a change is decided on the room's memory under its lock, and on nothing else.
//! Invariant: the lock is never held while the log is waited for, so that events of one room share
//! batches.
//! Invariant: a send reads a constant number of rows, however many members the room has.
//! Deliberately absent: HTTP, and anything that waits for the network.

mod cells;
mod create;
mod device_changes;
mod entry;
mod error;
mod hot;
mod membership;
mod read;
mod receipts;
mod redact;
mod rooms;
mod rows;
mod stripped;
mod tables;
mod typing;

pub use create::NewRoom;
pub use device_changes::CONSUMER as DEVICE_CHANGES;
pub use error::RoomError;
pub use membership::{MembershipAction, MembershipChange};
pub use read::{
    Aggregated, Arrivals, Head, HistoryPage, HistoryPoint, Lens, ReceiptAt, Related, RoomReader,
    StateAt, StateChangeAt, TimelineEvent, UserRoom,
};
pub use receipts::NewReceipt;
pub use redact::Redaction;
pub use rooms::{NewEvent, RoomParts, Rooms, Sent};
pub use rows::room_rows;
pub use tables::{TransactionKey, tables};
pub use typing::Typing;

/// Events of one arrival bucket.
pub(crate) const EVENTS_PER_BUCKET: i64 = 512;
/// A depth bucket holds `2^9` depths.
pub(crate) const DEPTH_BUCKET_BITS: u32 = 9;
