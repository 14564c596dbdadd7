//! Hands a relay's entries to the owner of their slot.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use hanse_log::{AppendError, Forward, Position, Slot};
use hanse_proto::{cluster::AppendRequest, log::Entry};
use hanse_runtime::Clock;
use hanse_store::Store;

use super::{
    APPEND_TIMEOUT, CallError, Peers,
    answer::{Appended, appended},
    owners::Owners,
    reach::with_deadline,
    retries::Retries,
};

/// What a forwarder is built from.
pub struct ForwarderParts {
    /// This process.
    pub me: String,
    /// The ways to the others.
    pub peers: Peers,
    /// Where the slots' rows are.
    pub store: Arc<dyn Store>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// [`Forward`] between processes: goes to the owner as known here and, where that one names another
/// or does not answer, once more within the retry budget. What fails then the relay tries again.
pub struct Forwarder {
    me: String,
    peers: Peers,
    owners: Owners,
    clock: Arc<dyn Clock>,
    retries: Retries,
}

impl fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarder")
            .field("peers", &self.peers)
            .field("owners", &self.owners)
            .finish_non_exhaustive()
    }
}

/// Where to try next.
enum Next {
    /// This one is said to serve it.
    There(String),
    /// Look at the slot's row.
    Look,
}

impl Forwarder {
    /// Calls nobody yet.
    pub fn new(parts: ForwarderParts) -> Self {
        Self {
            me: parts.me,
            peers: parts.peers,
            owners: Owners::new(parts.store),
            clock: parts.clock,
            retries: Retries::of("append"),
        }
    }

    async fn hand(&self, slot: Slot, entries: Vec<Entry>) -> Result<Position, AppendError> {
        let lost = AppendError::SlotLost { slot };
        let by = self.clock.monotonic() + APPEND_TIMEOUT;
        self.retries.first();
        let first = match self.owners.known(slot).filter(|id| self.peers.lives(id)) {
            Some(owner) => owner,
            None => self.owners.look(slot).await.ok_or(lost.clone())?,
        };
        let next = match self.attempt(&first, slot, entries.clone(), by).await {
            Ok(decided) => return decided,
            Err(next) => next,
        };
        let second = match next {
            Next::There(owner) => owner,
            Next::Look => self.owners.look(slot).await.ok_or(lost.clone())?,
        };
        if !self.retries.again() {
            return Err(lost);
        }
        let decided = self.attempt(&second, slot, entries, by).await;
        decided.unwrap_or(Err(lost))
    }

    /// One call; what was not decided by it may be tried at another place.
    async fn attempt(
        &self,
        owner: &str,
        slot: Slot,
        entries: Vec<Entry>,
        by: Duration,
    ) -> Result<Result<Position, AppendError>, Next> {
        // Next time, the slot's row is read.
        let nowhere = || {
            self.owners.forget(slot);
            Ok(Err(AppendError::SlotLost { slot }))
        };
        // Ours without being served, or of one who lapsed: there is nobody to go to yet.
        if owner == self.me || !self.peers.lives(owner) {
            return nowhere();
        }
        let within = by.saturating_sub(self.clock.monotonic());
        let request = AppendRequest {
            to: owner.to_owned(),
            slot: slot.0,
            entries,
        };
        let request = with_deadline(request, within);
        let call = self
            .peers
            .call("Append", owner, within, |mut client| async move {
                client.append(request).await
            });
        match call.await {
            Ok(response) => match appended(slot, response) {
                Some(Appended::Decided(decided)) => Ok(decided),
                Some(Appended::Elsewhere(Some(other))) if other != owner => {
                    self.owners.learn(slot, &other);
                    Err(Next::There(other))
                }
                // It is about to serve it, or knows nobody: too early for another try.
                Some(Appended::Elsewhere(_)) => nowhere(),
                None => Err(Next::Look),
            },
            Err(CallError::Full) => Ok(Err(AppendError::Overloaded { slot })),
            Err(CallError::NotAMember { .. }) => nowhere(),
            // Its address may be another's by now.
            Err(CallError::Refused { reason }) => {
                tracing::warn!(slot = slot.0, owner, reason, "an append was refused");
                nowhere()
            }
            // If it was done all the same, the owner drops the repeat.
            Err(CallError::NotSent { .. } | CallError::NoAnswer { .. }) => Err(Next::Look),
        }
    }
}

#[async_trait]
impl Forward for Forwarder {
    async fn append(&self, target: Slot, entries: Vec<Entry>) -> Result<Position, AppendError> {
        let handed = tokio::time::timeout(APPEND_TIMEOUT, self.hand(target, entries));
        let late = AppendError::SlotLost { slot: target };
        handed.await.unwrap_or(Err(late))
    }
}
