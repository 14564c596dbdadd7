//! Tables in ordered maps. [`Data`] is what an engine would have on its disks; the simulation puts
//! faults around it, and [`MemoryStore`] is a store of it that never fails, for tests that make so many
//! calls that an engine's disks and threads would take most of their time.
//!
//! No engine to serve from: nothing survives the process, and nothing bounds its memory.
//!
//! Invariant: nothing here reads a clock: the time is passed in.

mod data;
mod memory_store;
mod partition;

pub use data::{Cell, Data};
pub use memory_store::{Clock, MemoryStore};
pub use partition::{Commit, Partition};
