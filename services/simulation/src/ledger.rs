//! A domain over the slot logs, as rooms and users are: it decides in memory, on what it has loaded,
//! and recognises repeats.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hanse_log::{AppendError, Basis, Position, SlotLogs, Ticket};
use hanse_store::{Consistency, Key, Store, StoreError, Value};
use parking_lot::Mutex as SyncMutex;
use tokio::sync::Mutex;

use crate::{
    domain::{KEYS, ROOMS, Said, relay},
    executor::ProcessId,
    truth::Truth,
};

/// How long an earlier write may take to be shown.
const SHOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// A client's wish.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) room: String,
    /// Stays the same over all retries.
    pub(crate) key: String,
    pub(crate) bytes: usize,
    /// Rooms that are to have an effect of it.
    pub(crate) targets: Vec<String>,
}

/// Why a wish was not granted, as far as is known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WishError {
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the same is under way")]
    UnderWay,
    #[error("it is there, and not to be shown yet")]
    NotShown,
    #[error("a row is corrupt")]
    Corrupt,
}

/// What a process knows of its rooms.
pub(crate) struct Ledger {
    pub(crate) logs: SlotLogs,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) truth: Arc<Truth>,
    pub(crate) process: ProcessId,
    pub(crate) attempts: AtomicU64,
    pub(crate) cells: SyncMutex<BTreeMap<String, Arc<Mutex<Cell>>>>,
}

/// A room in memory.
#[derive(Default)]
pub(crate) struct Cell {
    basis: Option<Basis>,
    last: String,
    under_way: BTreeSet<String>,
}

impl Ledger {
    /// Writes a key, or finds where it was written before.
    pub(crate) async fn grant(&self, wish: &Wish) -> Result<Position, WishError> {
        let cell = Arc::clone(self.cells.lock().entry(wish.room.clone()).or_default());
        let decided = self.decide(&mut *cell.lock().await, wish).await?;
        let (attempt, ticket) = match decided {
            Ok(submitted) => submitted,
            Err(position) => return self.show(wish, position).await,
        };
        let outcome = ticket.applied().await;
        if let Err(error) = &outcome
            && !matches!(error, AppendError::SlotLost { .. })
        {
            self.truth.refused(&wish.key, &attempt);
        }
        cell.lock().await.under_way.remove(&wish.key);
        Ok(outcome?)
    }

    /// An earlier write of the key: its row may be there before the slot is applied up to it, or it
    /// may be another owner's, of which this process has not heard.
    async fn show(&self, wish: &Wish, position: Position) -> Result<Position, WishError> {
        let slot = self.logs.slot_of(&wish.room);
        let applied = self.logs.wait_applied(slot, position);
        let waited = tokio::time::timeout(SHOWN_TIMEOUT, applied).await;
        waited.map(|()| position).map_err(|_| WishError::NotShown)
    }

    /// `Err`: it was written before.
    async fn decide(
        &self,
        room: &mut Cell,
        wish: &Wish,
    ) -> Result<Result<(String, Ticket), Position>, WishError> {
        let slot = self.logs.slot_of(&wish.room);
        let basis = self.logs.basis(slot)?;
        if room.basis != Some(basis) {
            self.logs.barrier(slot).await?;
            *room = Cell {
                basis: Some(basis),
                last: self.last(&wish.room).await?,
                under_way: BTreeSet::new(),
            };
        }
        if room.under_way.contains(&wish.key) {
            return Err(WishError::UnderWay);
        }
        if let Some(position) = self.written(&wish.key).await? {
            return Ok(Err(position));
        }
        let number = self.attempts.fetch_add(1, Ordering::Relaxed);
        let attempt = format!("{}.{number}", self.process.0);
        let said = Said::Put {
            attempt: attempt.clone(),
            room: wish.room.clone(),
            key: wish.key.clone(),
            prev: room.last.clone(),
        };
        let mut entry = said.entry(wish.bytes);
        entry.relays = wish
            .targets
            .iter()
            .map(|target| relay(target, &wish.key))
            .collect();
        let ticket = self.logs.submit(slot, Some(basis), vec![entry])?;
        room.last.clone_from(&wish.key);
        room.under_way.insert(wish.key.clone());
        Ok(Ok((attempt, ticket)))
    }

    async fn last(&self, room: &str) -> Result<String, WishError> {
        let key = Key::partition(vec![room.into()]);
        let row = self.store.get(&ROOMS, &key, Consistency::Quorum).await?;
        let Some(row) = row else {
            return Ok("-".to_owned());
        };
        let last = row.values.first().and_then(Value::as_str);
        last.map(str::to_owned).ok_or(WishError::Corrupt)
    }

    async fn written(&self, key: &str) -> Result<Option<Position>, WishError> {
        let key = Key::partition(vec![key.into()]);
        let row = self.store.get(&KEYS, &key, Consistency::Quorum).await?;
        let position = row.and_then(|row| row.values.first().and_then(Value::as_i64));
        Ok(position.map(Position::from_packed))
    }
}
