//! How long what may take, and what follows from it.
//!
//! A renewal that was sent at `s` cannot be seen by anybody before `s`. An observer counts a member
//! as lapsed [`TTL`] after it first saw the counter, so not before `s + TTL`; the member itself
//! stops at `s + HELD_FOR`, which is [`MARGIN`] earlier.

use std::time::Duration;

/// A member whose counter stood still for so long has lapsed.
pub const TTL: Duration = Duration::from_secs(6);
/// For clocks that run at different speeds, and for an append that was checked just before the end.
pub const MARGIN: Duration = Duration::from_secs(1);
/// How long a member may serve after it sent the last renewal that succeeded.
pub const HELD_FOR: Duration = Duration::from_secs(5);

/// From one renewal to the next.
pub const RENEWAL_PERIOD: Duration = Duration::from_secs(2);
/// A renewal that takes longer is in doubt.
pub const RENEWAL_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Pause after a renewal that failed or is in doubt.
pub const RENEWAL_RETRY: Duration = Duration::from_millis(300);

/// From one reading of the members to the next.
pub const READ_PERIOD: Duration = Duration::from_secs(1);
/// A reading that takes longer has failed.
pub const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// No two readings are closer, whatever calls for them.
pub const READ_GAP: Duration = Duration::from_millis(50);
/// How long the row of a lapsed member is kept.
pub const LAPSED_KEPT: Duration = Duration::from_mins(5);

/// How long a process looks who else is there before it takes its first slot.
pub const SETTLE: Duration = Duration::from_secs(2);
/// How long a slot stays with its owner before it may be moved for balance.
pub const STAY: Duration = Duration::from_secs(30);

// A renewal may hang for as long as it may, and the next one still comes in time.
const _: () = assert!(
    RENEWAL_PERIOD.as_millis() + RENEWAL_TIMEOUT.as_millis() + RENEWAL_RETRY.as_millis()
        < HELD_FOR.as_millis()
);
const _: () = assert!(HELD_FOR.as_millis() + MARGIN.as_millis() == TTL.as_millis());
// Who starts within a reading of another sees it before either takes a slot.
const _: () = assert!(SETTLE.as_millis() >= 2 * READ_PERIOD.as_millis());
