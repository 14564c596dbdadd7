//! The slot log in a world that fails: deterministic simulation of the real code of `hanse-log`.
//!
//! A seed draws a plan (machines, slots, clients, how often what fails) and decides everything that
//! happens in its run: whose turn it is, how long each call to the store takes and whether its answer
//! comes back, when which process is frozen, killed or cut off. Time is virtual.
//! `cargo xtask simulate` runs many seeds.
//!
//! A crate of its own, beside `hanse-testkit`: it needs the log and nothing above it, so that its
//! optimised build is quick, and its features (sabotage of the log) reach no other binary.
//!
//! Invariant: nothing of a run depends on anything but its seed and the code: no real time, no real
//! randomness, no thread, no order of a hash map.
//! Invariant: every fault is counted; a fault that never occurs is reported as such.

mod audit;
mod blows;
mod bus;
mod client;
mod clock;
mod dice;
mod domain;
mod exchange;
mod executor;
mod faults;
mod finale;
mod journal;
mod lease;
mod ledger;
mod node;
mod panics;
mod plan;
mod run;
mod scene;
mod store;
mod tally;
mod totals;
mod truth;
mod verdict;
mod world;

pub use faults::FAULTS;
pub use hanse_log::Sabotage;
pub use journal::{Digest, Keep};
pub use panics::collect as collect_panics;
pub use run::{Report, run};
pub use totals::Totals;
pub use verdict::Violation;
