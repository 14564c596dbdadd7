//! Several processes over one store: who serves what when they come, go, die and freeze.
//!
//! Each process has a thread of its own; every test names the sabotage that turns it red.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests"
)]

mod calls;
mod commands;
mod idle;
mod lease;
mod moves;
mod notes;
mod proxy;
mod relays;
mod store;
mod wire;
mod world;
