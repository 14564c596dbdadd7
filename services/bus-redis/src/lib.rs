//! The bus of the cluster, over Redis pub/sub: [`RedisBus`] is a [`hanse_log::Bus`].
//!
//! A channel for each slot, `hanse:DEPLOYMENT:SLOT`; sharded pub/sub where the server is a cluster,
//! plain otherwise. A message is a `hanse.bus.v1.Notice`; a batch of more than
//! [`BODY_BYTES_MAX`] is left out of it, to be read from the log. One channel more,
//! `hanse:DEPLOYMENT:ephemeral`, carries what is of use only just now ([`hanse_log::EphemeralBus`]).
//!
//! Invariant: Redis holds nothing. Whatever it loses, repeats or reorders costs latency alone.
//! Invariant: publishing never waits, and a subscriber that does not read is never waited for.
//! Invariant: whoever may have missed something hears [`hanse_log::Heard::Subscribed`], and hears
//! it only after the subscription stands.
//! Deliberately absent: retries of a message, acknowledgements, and any key in Redis. It is a crate
//! of its own, as the store's engines are, so that what stands on the log links no Redis client.

mod backoff;
mod bus;
mod channels;
mod fanout;
mod link;
mod listener;
mod tls;
mod wire;
mod writer;

pub use bus::{RedisBus, RedisBusError, RedisBusParts};
pub use tls::RedisTls;
pub use wire::BODY_BYTES_MAX;
