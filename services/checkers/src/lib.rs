//! What must hold of a history of sends and syncs, whatever happened to the server meanwhile.
//!
//! A test writes down what it did and what it was told ([`Attempt`]), what the rooms hold at the end
//! ([`Timelines`]) and what /sync said on the way ([`Page`]); each checker looks for one sort of
//! breach and lists what it finds.
//!
//! Invariant: pure functions over plain data; no server, no network, no clock.
//! Invariant: no server code: names and ids are strings, as they came over the wire.
//! Invariant: whatever a correct server may do passes: an unknown outcome may have landed or not.

mod history;
mod keys;
mod sends;
mod syncs;
mod violation;

pub use history::{Attempt, Event, Mark, Outcome, Page, RoomPage, Timelines};
pub use keys::{
    Claimed, KeyClaim, KeyUpload, keys_handed_out_once, no_key_lost, only_uploaded_keys,
};
pub use sends::{
    acknowledged_once, in_order, nothing_twice, only_what_was_asked, transactions_stable,
};
pub use syncs::{no_event_again, union_is_timeline};
pub use violation::Violation;

/// All that can be said about sends: every checker's findings, in the order of this crate's list.
pub fn check_sends(attempts: &[Attempt], timelines: &Timelines) -> Vec<Violation> {
    let mut found = acknowledged_once(attempts, timelines);
    found.extend(nothing_twice(timelines));
    found.extend(only_what_was_asked(attempts, timelines));
    found.extend(in_order(attempts, timelines));
    found.extend(transactions_stable(attempts));
    found
}

/// All that can be said about one reader's syncs, the pages in the order in which they were asked.
pub fn check_syncs(reader: &str, pages: &[Page], timelines: &Timelines) -> Vec<Violation> {
    let mut found = no_event_again(reader, pages);
    found.extend(union_is_timeline(reader, pages, timelines));
    found
}
