//! Who is in the cluster, and which process serves which slot.
//!
//! [`Membership`] keeps this process's row in table `members` and reads everybody's; it is the
//! [`hanse_log::Lease`] of the process. [`assignee`] says by rendezvous hashing which persister a
//! slot should be with. The [`Keeper`] takes, asks for and gives up slots accordingly. `docs/log.md`,
//! "Who serves a slot", has the arithmetic.
//!
//! Invariant: nothing here is needed for safety. A slot changes hands by compare-and-set on its row,
//! and its log refuses whoever was fenced off; a wrong belief about who lives costs time only.
//! Invariant: no clock of another machine is ever compared with ours. A member has lapsed when its
//! counter stood still for the TTL of the observer's own monotonic clock.
//! Invariant: a member stops accepting before anybody can count it as lapsed.
//! Invariant: an incumbent stays while it lives; only balance asks it for a slot, one at a time.
//! Invariant: a refused claim, a lost slot and a failed read are tried again after a jittered,
//! growing pause: contention never spins.
//! Invariant: a write is decided where its key's slot is served: [`Router`] has a domain's [`Command`]s
//! run there, by a plain call or over gRPC.
//!
//! [`grpc`] is how processes talk to each other. What decides ([`Keeper`], `plan.rs`) knows only the
//! trait [`HandOver`]; [`InProcess`] serves processes that share an address space.

mod assignment;
mod command;
pub mod grpc;
mod hand_over;
mod keeper;
mod member;
mod membership;
mod observer;
mod plan;
mod router;
mod rows;
mod slots;
pub mod tables;
mod tenancy;
pub mod timing;
pub mod travelling;

pub use assignment::{assignee, ranked};
pub use command::{Command, Commands, Refusal};
pub use hand_over::{HandOver, HandOverError, InProcess};
pub use keeper::{Keeper, KeeperParts};
pub use member::{Member, PERSISTER, View};
pub use membership::{Membership, MembershipParts};
pub use router::{Elsewhere, Routed, Router, RouterParts};
pub use slots::Slots;
