//! The slot log over the embedded store, and over one whose writes fail to order.
//!
//! Every test counts that its fault occurred, and names the sabotage that turns it red.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

mod bounds;
mod consumers;
mod faults;
mod feed;
mod readers;
mod refused;
mod relay;
mod replay;
mod succession;
mod takeover;
mod trim;
mod unknown;
mod world;
