//! The CQL store engine of the cluster: [`hanse_store::Store`] on ScyllaDB, or on Apache Cassandra.
//!
//! Each table is a real, typed CQL table that cqlsh can read; each verb is a prepared statement,
//! routed to a replica of its partition. `docs/cql.md` gives the statements, and what was verified on
//! which server.
//!
//! Invariant: a conditional statement is sent once. The driver neither retries nor speculates on it,
//! and whatever may have reached a server without an answer is [`hanse_store::StoreError::Unknown`].
//! Invariant: every conditional write is decided in one data centre (`LOCAL_SERIAL`), which is
//! checked when the store connects.
//! Invariant: a read is answered by a query that began after the read was asked for, shared or not.
//! Invariant: one process at a time changes the schema, and none is ever removed or bent.
//! Invariant: what differs between Scylla and Cassandra is in [`Dialect`] and nowhere else.

mod apply;
mod bind;
mod conditional;
mod config;
mod connect;
mod cql;
mod dialect;
mod engine;
mod error;
mod gate;
mod lock;
mod profile;
mod read;
mod refusal;
mod replication;
mod retry;
mod row;
mod schema;
mod share;
mod store;
mod turns;

pub use config::{Clock, ScyllaConfig};
pub use connect::ConnectError;
pub use dialect::{Dialect, DialectError};
pub use store::ScyllaStore;
