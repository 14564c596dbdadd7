//! Processes with roles on a real CQL server (`HANSE_TEST_CQL` names it; `deploy/cql/start.sh` starts
//! one) and Redis servers that the tests start. One after the other, in one keyspace: its tables take
//! long to make.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests"
)]

mod one;
mod syncs;
mod world;
mod writes;
