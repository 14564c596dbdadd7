//! The client-server API over HTTP: authentication, limits, routing, and one small handler per
//! endpoint on ruma's request types.
//!
//! Deliberately absent: rules of the domain (they are in `hanse-user` and `hanse-room`), the
//! listener (`hanse-runtime`), and the answer to `/sync` ([`SyncHandler`] is plugged in).
//!
//! Invariant: a handler extracts, calls and presents; it decides nothing.
//! Invariant: a handler without [`Session`](session) cannot act for a user.
//! Invariant: every error has the specification's form, and one place says which.
//! Invariant: no path is written here that ruma knows.

mod admission;
mod body;
mod cors;
mod error;
mod exchange;
mod guard;
mod rates;
mod routes;
mod state;

pub use self::{
    admission::{AdmissionLimits, Class, ClassLimits},
    error::ApiError,
};
