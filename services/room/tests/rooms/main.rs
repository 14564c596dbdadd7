//! Rooms on the embedded engine, over real slot logs. Each test names the sabotage that breaks it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what the tests share is test code, too"
)]

mod create;
mod early_redaction;
mod elsewhere;
mod faults;
mod history;
mod install;
mod install_collection;
mod membership;
mod out_of_band;
mod placing;
mod portions;
mod redaction;
mod rejoin;
mod remote_room;
mod sending;
mod state;
mod visibility;
mod world;
