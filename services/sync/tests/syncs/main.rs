//! `/sync` over real slot logs on the embedded engine. Each test names the sabotage that breaks it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what the tests share is test code, too"
)]

mod devices;
mod lazy;
mod memberships;
mod polling;
mod stream;
mod world;
