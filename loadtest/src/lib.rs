//! Synthetic users against any Matrix homeserver, over plain HTTP on the loopback interface.
//!
//! [`http`] is a connection, [`User`] a session on one; both are also what the kill loop of the
//! testkit writes through. The scenarios measure and end in a [`Report`].
//!
//! Invariant: no word of a server's insides: the same run works against any homeserver, which is
//! what makes a ratio between two of them mean something.
//! Invariant: nothing on the path of a measured request parses JSON into a tree; a tool that shares
//! the processors with the server must stay out of its way.
//! Invariant: every run ends by itself, and every request has a deadline.
//! Invariant: an open-loop latency counts from the scheduled time, so that a stalled server cannot
//! hide its stall by slowing the schedule down.

pub mod big_room;
pub mod deliver;
pub mod e2ee;
pub mod fsync;
pub mod http;
pub mod json;
mod latency;
mod metrics;
pub mod overload;
mod process;
mod report;
pub mod send;
mod user;
mod world;

pub use latency::Latency;
pub use process::{ProcessError, Usage, Watched};
pub use report::Report;
pub use user::{Credentials, Refused, User, send_text};
pub use world::{Target, World};
