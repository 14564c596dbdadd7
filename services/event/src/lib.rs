//! Sans-IO Matrix semantics: events in the federation format and what the specification says about
//! them. Types of the protocol are ruma's.
//!
//! Deliberately absent: tokio, async, clocks, random numbers, storage. Whoever calls passes in the
//! time, the dice and the state.
//!
//! Invariant: a [`Pdu`] is immutable and its text is canonical JSON.
//! Invariant: nothing received becomes a [`Pdu`] before its format, signatures and hash were
//! checked ([`Pdu::receive`], [`pdu::Unverified::verify`]).
//! Invariant: accepted, soft-failed and rejected are different types ([`auth::Verdict`]).
//! Invariant: every walk over input from outside is bounded in size and depth, and linear.

pub mod acl;
pub mod auth;
pub mod client;
pub mod draft;
pub mod filter;
pub mod glob;
pub mod limits;
pub mod pdu;
pub mod power;
pub mod push;
pub mod redaction;
pub mod resolve;
pub mod room_version;
pub mod server_key;
pub mod strict_json;
pub mod visibility;

#[cfg(test)]
mod testing;

pub use self::{
    auth::{
        Accepted, AuthRejected, Judged, Verdict, auth_types_of, check_auth, check_by_auth_events,
        judge,
    },
    draft::{BuildError, Draft, Placement, build, build_create, content_of},
    pdu::{Integrity, Pdu, PduError, ReceiveError, Received},
    redaction::{RedactError, redact},
    server_key::ServerKey,
};
