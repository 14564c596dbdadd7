//! Where a domain's writes are decided: here, or at the process that serves the slot.
//!
//! A process that is alone runs each command as a plain call. One of a cluster does so where the slot
//! is served here; else it sends the command to the owner, and waits, until the deadline, while there
//! is none. What must not happen twice is not sent again once it may have been begun; what says that its
//! repeat is safe is sent again, to whoever serves the slot by then: the next owner has whatever the one
//! before wrote.

mod breaker;
mod remote;
mod tries;

use std::{fmt, sync::Arc};

use hanse_log::{AppendError, LogPoint, Slot, SlotLogs};
use hanse_runtime::{Clock, Random};
use hanse_store::Store;

use self::remote::Remote;
use crate::{Command, Refusal, grpc::Peers};

/// What a router of a cluster's process is built from.
pub struct RouterParts {
    /// This process.
    pub me: String,
    /// The ways to the others.
    pub peers: Peers,
    /// What is served here.
    pub logs: SlotLogs,
    /// Where the slots' rows are.
    pub store: Arc<dyn Store>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Jitter.
    pub random: Arc<dyn Random>,
}

/// Runs commands where their slots are served. Clones are the same.
#[derive(Clone)]
pub struct Router {
    /// `None`: this process is alone.
    others: Option<Arc<Remote>>,
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router")
            .field("clustered", &self.is_clustered())
            .finish()
    }
}

/// What came of a command, and where.
#[derive(Debug)]
pub struct Routed<T> {
    /// What it gave.
    pub outcome: T,
    /// `None`: it was run here.
    pub elsewhere: Option<Elsewhere>,
}

/// A command was run by another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// The slot.
    pub slot: Slot,
    /// Up to where the slot was applied then; this process shows it by now.
    pub applied: LogPoint,
}

impl Router {
    /// For a process that serves every slot: each command is a plain call.
    pub fn alone() -> Self {
        Self { others: None }
    }

    /// For a process of a cluster.
    pub fn clustered(parts: RouterParts) -> Self {
        Self {
            others: Some(Arc::new(Remote::new(parts))),
        }
    }

    /// Whether others may run commands of this process, and write what it reads.
    pub fn is_clustered(&self) -> bool {
        self.others.is_some()
    }

    /// Runs a command where its slot is served. When it returns, what the command wrote may be read
    /// here, and this process shows the slot up to there.
    ///
    /// [`AppendError::NotServed`]: nobody served the slot until the deadline, and nothing was begun.
    /// [`AppendError::SlotLost`]: whether it was done is not known; a client's repeat is recognised by
    /// its transaction id.
    pub async fn run<D, C>(&self, domain: &D, command: &C) -> Routed<Result<C::Done, C::Refused>>
    where
        D: Sync,
        C: Command<D>,
    {
        match &self.others {
            None => here(command.run(domain).await),
            Some(others) => others.run(domain, command).await,
        }
    }
}

fn here<T>(outcome: T) -> Routed<T> {
    Routed {
        outcome,
        elsewhere: None,
    }
}

fn refused<T, E: Refusal>(error: AppendError) -> Routed<Result<T, E>> {
    here(Err(error.into()))
}
