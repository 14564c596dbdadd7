//! Shelves: buckets of `room_events` that no timeline lists. The bodies of an installed state stand on
//! them, in the order in which they were written.
//!
//! Rows of `room_state` name a shelf as they would a bucket, so that a value's body is one look-up away,
//! and a redaction finds it where it would find any.

use crate::EVENTS_PER_BUCKET;

/// The shelves are the buckets below. Timelines do not come so far: it would take 2^49 events.
const SHELVES_END: i64 = -(1 << 40);

/// The shelf for the event of this number of an installation, counted from 0.
pub(crate) fn shelf_of(number: i64) -> i64 {
    shelf(number / EVENTS_PER_BUCKET)
}

/// A shelf by its own number, counted from 0.
pub(crate) fn shelf(number: i64) -> i64 {
    SHELVES_END - 1 - number
}

/// Whether a bucket is a shelf.
pub(crate) fn is_shelf(bucket: i64) -> bool {
    bucket < SHELVES_END
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sabotage: count from [`SHELVES_END`] itself.
    #[test]
    fn every_event_of_an_installation_stands_on_a_shelf() {
        for number in [0, 1, 511, 512, 1_000_000] {
            assert!(is_shelf(shelf_of(number)));
        }
        assert_eq!(shelf_of(511), shelf(0));
        assert_eq!(shelf_of(512), shelf(1));
        for bucket in [crate::tables::BY_ID, 0, -1_000_000] {
            assert!(!is_shelf(bucket));
        }
    }
}
