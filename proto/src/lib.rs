//! Wire and row formats: the protobuf messages of the slot log, by domain, of the bus, and
//! of what processes ask each other.
//!
//! The sources are `proto/hanse/*.proto`; `src/gen` is generated from them by `cargo xtask codegen`
//! and checked in, so that a build needs no protobuf compiler.
//!
//! Invariant: field numbers are never reused; a message stays readable one version back and forth.
//! Invariant: nothing in here has behaviour.

/// The bus: what owners show to readers in other processes.
pub use r#gen::hanse::bus::v1 as bus;
/// What the processes of a cluster ask each other; clients and servers need a transport.
#[cfg(feature = "grpc")]
pub use r#gen::hanse::cluster::v1 as cluster;
/// The slot log: batches, entries, relays.
pub use r#gen::hanse::log::v1 as log;
/// Entries of rooms.
pub use r#gen::hanse::room::v1 as room;
/// What the API asks of sync workers; clients and servers need a transport.
#[cfg(feature = "grpc")]
pub use r#gen::hanse::sync::v1 as sync;
/// Entries of users and of names.
pub use r#gen::hanse::user::v1 as user;

/// Generated code: see the `.proto` files for documentation. The nesting follows their packages,
/// because the generated paths do.
#[expect(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    unreachable_pub,
    reason = "generated"
)]
mod r#gen {
    pub mod hanse {
        pub mod bus {
            pub mod v1 {
                include!("gen/hanse.bus.v1.rs");
            }
        }
        #[cfg(feature = "grpc")]
        #[expect(clippy::allow_attributes, unused_qualifications, reason = "generated")]
        pub mod cluster {
            pub mod v1 {
                include!("gen/hanse.cluster.v1.rs");
            }
        }
        pub mod log {
            pub mod v1 {
                include!("gen/hanse.log.v1.rs");
            }
        }
        pub mod room {
            pub mod v1 {
                include!("gen/hanse.room.v1.rs");
            }
        }
        #[cfg(feature = "grpc")]
        #[expect(clippy::allow_attributes, unused_qualifications, reason = "generated")]
        pub mod sync {
            pub mod v1 {
                include!("gen/hanse.sync.v1.rs");
            }
        }
        pub mod user {
            pub mod v1 {
                include!("gen/hanse.user.v1.rs");
            }
        }
    }
}
