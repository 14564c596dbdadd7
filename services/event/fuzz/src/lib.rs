//! What must hold of `hanse-event` whatever it is given, each property against an oracle that shares
//! no code with it. `cargo xtask fuzz` lets libFuzzer search for inputs of which it does not hold;
//! `src/bin` are the targets, `seeds` what each begins with.
//!
//! Invariant: `check` depends on its input alone, so that a crash can be shown again.
//! Invariant: a property that does not hold panics, and nothing else does.
#![forbid(unsafe_code)]

pub mod auth;
pub mod json;
pub mod pdu;
pub mod resolution;
