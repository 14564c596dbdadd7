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

mod idle;
mod lease;
mod moves;
mod store;
mod world;
