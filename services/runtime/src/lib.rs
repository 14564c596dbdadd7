//! How a Hanse process runs: clock, randomness, tasks, drain, configuration, telemetry, the HTTP
//! listener, the data directory and the admin socket.
//!
//! Everything that touches the outside world of a process is injected from here, so that tests and
//! the simulation can replace it.
//!
//! Invariant: this crate knows no domain word beyond what an operator configures: no room, no
//! event, no table.
//! Invariant: no other crate reads the system clock, draws randomness from the system or calls
//! `tokio::spawn`.
//! Invariant: every task belongs to a [`Stage`], and a process ends only after the stages before it
//! have ended, or by force.

pub mod admin;
mod clock;
pub mod config;
mod data_dir;
pub mod http;
mod lifecycle;
mod pool;
mod random;
mod readiness;
mod tasks;
pub mod telemetry;
pub mod trace;

pub use clock::{Clock, ManualClock, SystemClock};
pub use data_dir::{DataDir, DataDirError};
pub use lifecycle::{DrainLimits, Drained, Lifecycle, OsSignals, Stage, Stop, StopSignals};
pub use pool::{BlockingPool, PoolError};
pub use random::{Random, SeededRandom, SystemRandom, TOKEN_CHARS};
pub use readiness::{Readiness, ReadyPart};
pub use tasks::{Scheduler, TaskHandle, TaskLost, Tasks};
