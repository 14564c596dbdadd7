//! The store layer: a small wide-column model that both engines implement alike.
//!
//! A [`Table`] is described once, with its [`Kind`] and typed columns; the verbs of [`Store`] are all
//! that the rest of the system may ask of a database. Engines live in crates of their own
//! (`hanse-store-embedded`, `hanse-store-scylla`) and pass the same [`conformance`] suite.
//!
//! Invariant: this crate knows no Matrix word, no slot and no log.
//! Invariant: a table is of exactly one kind, and each verb refuses tables of another kind.
//! Invariant: an outcome that is not known is [`StoreError::Unknown`], never an error that reads as
//! "nothing happened".

mod check;
mod condition;
mod error;
mod mutation;
mod read;
mod store;
mod table;
mod value;

pub mod conformance;

pub use condition::{ConditionalBatch, ConditionalStep, Outcome};
pub use error::StoreError;
pub use mutation::{Durability, Mutation, Stamp, StampedDelete, StampedPut};
pub use read::{Consistency, Direction, Key, Page, Range, Row, Scan};
pub use store::Store;
pub use table::{Column, ColumnType, Kind, Table};
pub use value::Value;
