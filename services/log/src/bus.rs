//! What a slot's owner shows to readers in other processes.
//!
//! Invariant: the bus is only a fast path. It may drop, repeat and reorder whatever it carries, for
//! ever; readers find every gap by dense positions, by the heartbeats and by table `heads`. What is
//! ephemeral has no truth behind it: lost is lost.

use hanse_proto::{bus::Ephemeral, log::Entry};
use tokio::sync::mpsc;

use crate::{LogPoint, Slot};

/// A slot has been applied up to here: a batch, or a heartbeat.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// The slot.
    pub slot: Slot,
    /// The epoch of the owner that shows it.
    pub epoch: i64,
    /// The sequence number that the owner showed before this notice: equal to `point.seq` in a
    /// heartbeat, one less for a batch.
    pub prev: i64,
    /// Up to where the slot is applied.
    pub point: LogPoint,
    /// The batch at `point`. `None`: a heartbeat, or a batch that is too large to be carried and
    /// is to be read from the log.
    pub entries: Option<Vec<Entry>>,
}

/// What a subscriber hears.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard<N = Notice> {
    /// A notice. May be old, repeated or out of order.
    Notice(N),
    /// The subscription stands (again): whatever was shown before may have been missed.
    Subscribed,
}

/// The bus of a cluster: a channel for each slot.
pub trait Bus: Send + Sync + 'static {
    /// Shows a notice to every subscriber. Never waits: past the bound of its queue, or while the
    /// bus cannot be reached, the notice is dropped and counted.
    fn publish(&self, notice: Notice);

    /// Hears every slot from now on, until the receiver is dropped. The first thing heard is
    /// [`Heard::Subscribed`], once the bus has confirmed; whoever then reads the store has missed
    /// nothing.
    fn subscribe(&self) -> mpsc::Receiver<Heard>;
}

/// The channel of a cluster for what is of use only just now, such as who is typing.
pub trait EphemeralBus: Send + Sync + 'static {
    /// Tells whoever listens. Never waits, takes no place that a [`Notice`] may need, and is dropped
    /// and counted where there is none.
    fn tell(&self, message: Ephemeral);

    /// Hears what any process tells, this one too, until the receiver is dropped.
    /// [`Heard::Subscribed`] comes first, and says that something may have been missed for ever.
    fn listen(&self) -> mpsc::Receiver<Heard<Ephemeral>>;
}
