//! Tests against a real CQL server. `HANSE_TEST_CQL` (address:port) names it; `deploy/cql/start.sh`
//! starts one. Without the variable they fail: who asks for the feature `cassandra` wants them run.
//!
//! `proof_*` show that the statements of the slot log do on the server what `docs/cql.md` says they
//! do, through the driver alone and without any code of ours in between. `conformance` is the suite
//! that every engine passes; `store_*` show the rest of the engine.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "this is a test: what it does not expect is a failure"
)]

mod conformance;
mod proof;
mod proof_append;
mod proof_faults;
mod proof_history;
mod proof_succession;
mod proof_takeover;
mod proof_trim;
mod proxy;
mod server;
mod store_faults;
mod store_load;
mod store_schema;
mod store_start;
mod tables;
