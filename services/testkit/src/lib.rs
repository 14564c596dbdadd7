//! Faults for tests of whole servers: real processes, real kills.
//!
//! [`HanseProcess`] is a server as a child process that can be killed and started again on its data;
//! [`kill_loop`] kills it under writing load and looks for what was lost; [`cql_nodes`] kills the
//! store's nodes under its conformance suite; [`contention`] lets many processes fight for one slot
//! of the log on a real CQL server.
//!
//! Invariant: a test of the server sees it as clients do, over HTTP; what it may conclude is in
//! `hanse-checkers`.
//! Invariant: every child is ended by its own process id, also when the test fails.

pub mod append_speed;
pub mod contention;
pub mod cql_nodes;
pub mod kill_loop;
mod process;

pub use process::HanseProcess;
