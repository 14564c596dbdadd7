//! The simulated store: one set of tables, reached by each process over a network of its own.
//!
//! [`SimStore`] is the cluster of store nodes: what has landed. [`ProcessStore`] is how one process
//! reaches it: each call takes its time, may be lost on the way there or back, may land long after
//! its caller was told that nobody knows, and may be where its process dies.

mod fate;
mod link;
mod process_store;
mod sim_store;
mod step;

pub(crate) use fate::{LATE_MS_MAX, Rates};
pub(crate) use hanse_store_memory::{Cell, Commit, Data};
pub(crate) use link::{Link, Moment, Trap};
pub(crate) use process_store::{Death, ProcessStore, Weather};
pub(crate) use sim_store::{Observer, SimStore};
pub(crate) use step::Step;

#[cfg(test)]
mod tests;
