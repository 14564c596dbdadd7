//! `/sync` over real slot logs on the embedded engine. Each test names the sabotage that breaks it.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what the tests share is test code, too"
)]

mod devices;
mod elsewhere;
mod forks;
mod graphs;
mod lazy;
mod memberships;
mod out_of_band;
mod polling;
mod reads;
mod remote;
mod stream;
mod world;
