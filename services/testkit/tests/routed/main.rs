//! Rooms and users in processes that share the slots: each verb called where its key is not served.
//!
//! Each process has a thread of its own, and calls the others over gRPC on loopback. Every test names
//! the sabotage that turns it red.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests"
)]

mod moves;
mod rooms;
mod sessions;
mod users;
mod world;
