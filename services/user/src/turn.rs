//! Deciding: lock, read, decide, submit, await applied, unlock.

use std::sync::Arc;

use hanse_log::{AppendError, Basis, Position, Slot, Ticket};
use hanse_proto::{
    log::{Entry, Relay, entry::Kind},
    user::{NameEntry, UserEntry, name_entry, user_entry},
};
use ruma::UserId;
use tokio::sync::OwnedMutexGuard;

use crate::{Unavailable, Users, sessions::Voids};

/// A key's turn to decide. What is read while it is held stays true until its own entries land.
pub(crate) struct Turn {
    key: String,
    slot: Slot,
    /// Taken before anything is read: a slot that was lost and taken again meanwhile refuses.
    basis: Basis,
    /// Shared with the entries under way, so that a caller that goes away does not unlock early.
    held: Arc<OwnedMutexGuard<()>>,
}

impl Turn {
    /// Whose turn it is.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }
}

impl Users {
    /// Waits for the user's turn.
    pub(crate) async fn user_turn(&self, user_id: &UserId) -> Result<Turn, Unavailable> {
        let guard = self.inner.user_locks.lock(user_id.as_str()).await;
        self.turn(user_id.as_str(), guard)
    }

    /// Waits for the name's turn. Whoever needs a name and a user takes the name first.
    pub(crate) async fn name_turn(&self, name: &str) -> Result<Turn, Unavailable> {
        let guard = self.inner.name_locks.lock(name).await;
        self.turn(name, guard)
    }

    fn turn(&self, key: &str, guard: OwnedMutexGuard<()>) -> Result<Turn, Unavailable> {
        let slot = self.inner.logs.slot_of(key);
        Ok(Turn {
            key: key.to_owned(),
            slot,
            basis: self.inner.logs.basis(slot)?,
            held: Arc::new(guard),
        })
    }

    /// Writes entries of the user whose turn it is, in one batch; returns when they are applied.
    pub(crate) async fn commit_user(
        &self,
        turn: &Turn,
        kinds: impl IntoIterator<Item = user_entry::Kind>,
    ) -> Result<Position, Unavailable> {
        let of_user = |kind| {
            Kind::User(UserEntry {
                user_id: turn.key.clone(),
                kind: Some(kind),
            })
        };
        let entries = kinds
            .into_iter()
            .map(|kind| self.entry(of_user(kind)))
            .collect();
        self.commit(turn, entries).await
    }

    /// The same for one entry that causes something elsewhere.
    pub(crate) async fn commit_relaying(
        &self,
        turn: &Turn,
        kind: user_entry::Kind,
        relays: Vec<Relay>,
    ) -> Result<Position, Unavailable> {
        let entry = Kind::User(UserEntry {
            user_id: turn.key.clone(),
            kind: Some(kind),
        });
        let entry = Entry {
            relays,
            ..self.entry(entry)
        };
        self.commit(turn, vec![entry]).await
    }

    /// Writes an entry of the name whose turn it is; returns when it is applied.
    pub(crate) async fn commit_name(
        &self,
        turn: &Turn,
        kind: name_entry::Kind,
    ) -> Result<Position, Unavailable> {
        self.commit(turn, vec![self.name_entry(turn, kind)]).await
    }

    /// An entry of the name whose turn it is.
    pub(crate) fn name_entry(&self, turn: &Turn, kind: name_entry::Kind) -> Entry {
        let entry = NameEntry {
            name: turn.key.clone(),
            kind: Some(kind),
        };
        self.entry(Kind::Name(entry))
    }

    fn entry(&self, kind: Kind) -> Entry {
        Entry {
            decided_at_ms: self.now_ms(),
            kind: Some(kind),
            ..Entry::default()
        }
    }

    /// Submits entries. What they make void is forgotten in memory before this returns and before
    /// the next turn begins, whatever became of them and of the caller.
    pub(crate) async fn commit(
        &self,
        turn: &Turn,
        entries: Vec<Entry>,
    ) -> Result<Position, Unavailable> {
        let voids = Voids::of(&entries);
        let ticket: Ticket = self
            .inner
            .logs
            .submit(turn.slot, Some(turn.basis), entries)?;
        let (cache, held) = (Arc::clone(&self.inner.cache), Arc::clone(&turn.held));
        let landing = self.inner.tasks.spawn("user-decision", async move {
            let applied = ticket.applied().await;
            cache.void(&voids);
            drop(held);
            applied
        });
        let lost = AppendError::SlotLost { slot: turn.slot };
        match landing.await {
            Ok(Ok(applied)) => Ok(applied?),
            _ => Err(lost.into()),
        }
    }
}
