//! Size limits of events ([spec]).
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#size-limits

/// Most bytes of a whole event: canonical JSON in the federation format, signatures included.
pub const PDU_BYTES_MAX: usize = 65_536;

/// Most bytes of `sender`, `room_id`, `type`, `state_key` and an event id, each.
pub const FIELD_BYTES_MAX: usize = 255;

/// Most entries of `prev_events` (server-server API, PDU format).
pub const PREV_EVENTS_MAX: usize = 20;

/// Most entries of `auth_events` (server-server API, PDU format).
pub const AUTH_EVENTS_MAX: usize = 10;

/// Largest integer of canonical JSON, and with it the largest `depth`: 2^53 - 1.
pub const INTEGER_MAX: i64 = (1 << 53) - 1;

/// Deepest nesting of arrays and objects that is read from clients and peers.
pub const JSON_DEPTH_MAX: usize = 100;

/// Most parts of a glob pattern that are matched, runs of `*` counting as one. Longer patterns
/// match nothing; no server name (at most 255 bytes) could match one anyway.
pub const GLOB_PARTS_MAX: usize = 512;
