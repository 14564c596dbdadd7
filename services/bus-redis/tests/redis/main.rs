//! The bus on a real Redis server, which each test starts for itself and breaks as it likes. Needs
//! `redis-server` and `redis-cli` (Debian: `redis-server`); compiled with the feature
//! `redis-server`. Each test prints what it counted.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "this is a test: what it does not expect is a failure, and it says what it counted"
)]

mod cluster;
mod cuts;
mod delivery;
mod ephemeral;
mod outages;
mod process;
mod server;
mod tls;
