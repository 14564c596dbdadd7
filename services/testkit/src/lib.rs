//! Faults for tests of whole servers: real processes, real kills.
//!
//! [`HanseProcess`] is a server as a child process that can be killed and started again on its data;
//! [`kill_loop`] kills it under writing load and looks for what was lost; [`cql_nodes`] kills the
//! store's nodes under its conformance suite; [`contention`] lets many processes fight for one slot
//! of the log on a real CQL server; [`LocalCluster`] is a whole cluster of Hanse on this machine, and
//! [`faults`] does to one under load whatever may happen to it.
//!
//! Invariant: a test of the server sees it as clients do, over HTTP; what it may conclude is in
//! `hanse-checkers`.
//! Invariant: every child is ended by its own process id, also when the test fails.

pub mod append_speed;
pub mod contention;
pub mod cql_nodes;
pub mod faults;
pub mod kill_loop;
pub mod large_join;
mod local_cluster;
mod measured_store;
mod process;
mod redis;
mod store_link;

pub use local_cluster::{CqlNode, LocalCluster, Node, NodePlan, Plan};
pub use measured_store::MeasuredCluster;
pub use process::HanseProcess;
pub use redis::RedisServer;
pub use store_link::StoreLink;
