//! Rooms on the embedded engine, over real slot logs. Each test names the sabotage that breaks it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what the tests share is test code, too"
)]

mod create;
mod faults;
mod history;
mod membership;
mod redaction;
mod sending;
mod state;
mod visibility;
mod world;
