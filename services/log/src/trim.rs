//! Trimming: sealed segments whose entries are in the archives, read back, and seen by every durable
//! consumer are taken out of the log.
//!
//! Invariant: a segment is trimmed only below the stored checkpoint, only after each row that it
//! wrote was read back, and never past a consumer's cursor.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use hanse_store::{Consistency, Durability, Mutation, StoreError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    LogPoint,
    replay::{decode, rows_of},
    sabotage::Sabotage,
    settle::{Settled, settle},
    slots::{Inner, SlotShared},
    statements::{SlotRow, StoredBatch},
};

/// How often a segment that consumers still need is looked at again.
const RETRY_PERIOD: Duration = Duration::from_secs(2);
/// Segments that stay below the checkpoint's, for readers in other processes that are a little
/// behind.
const SEGMENTS_KEPT: i64 = 1;
/// Batches that are read back at once.
const PAGE_BATCHES: usize = 16;
/// Rows that are read at once: reading back must not crowd out those who wait.
const READS_AT_ONCE: usize = 8;

/// Trims one served slot.
pub(crate) struct Trimmer {
    inner: Arc<Inner>,
    shared: Arc<SlotShared>,
    epoch: i64,
    /// Segments below are gone.
    floor: i64,
}

/// Why a segment was not trimmed now.
#[derive(Debug, thiserror::Error)]
enum TrimError {
    #[error("the store failed")]
    Store(#[from] StoreError),
    #[error("a batch does not read back: {0}")]
    Corrupt(String),
    #[error("the segment is not ours to trim, or not to be found out")]
    Refused,
}

impl Trimmer {
    /// Starts trimming. The checkpoint's progress is sent to the returned end.
    pub(crate) fn start(
        inner: &Arc<Inner>,
        shared: &Arc<SlotShared>,
        row: &SlotRow,
        lost: CancellationToken,
    ) -> watch::Sender<LogPoint> {
        let (durable, checkpoint) = watch::channel(LogPoint {
            segment: row.segment,
            seq: row.checkpoint,
        });
        let trimmer = Self {
            inner: Arc::clone(inner),
            shared: Arc::clone(shared),
            epoch: row.epoch,
            floor: row.trimmed,
        };
        inner.tasks.spawn("slot-trim", async move {
            lost.run_until_cancelled(trimmer.run(checkpoint)).await;
        });
        durable
    }

    async fn run(mut self, mut checkpoint: watch::Receiver<LogPoint>) {
        loop {
            let floor = self.floor;
            let saboteur = self.inner.saboteur;
            let behind = checkpoint.wait_for(|point| {
                point.segment - SEGMENTS_KEPT > floor || saboteur.does(Sabotage::TrimPastCheckpoint)
            });
            if behind.await.is_err() {
                return;
            }
            match self.trim_oldest().await {
                Ok(true) => {}
                Ok(false) => tokio::time::sleep(RETRY_PERIOD).await,
                Err(error) => {
                    let slot = self.shared.slot.0;
                    tracing::warn!(slot, segment = floor, %error, "a segment was not trimmed");
                    tokio::time::sleep(RETRY_PERIOD).await;
                }
            }
        }
    }

    /// Trims the oldest segment; `false`: a consumer still needs it.
    async fn trim_oldest(&mut self) -> Result<bool, TrimError> {
        let (slot, segment) = (self.shared.slot, self.floor);
        let needed = self.inner.consumers.oldest_segment(&self.inner, slot);
        let saboteur = self.inner.saboteur;
        if needed.await? <= segment && !saboteur.does(Sabotage::TrimPastCursor) {
            return Ok(false);
        }
        if !saboteur.does(Sabotage::TrimUnread) {
            self.read_back(segment).await?;
        }
        self.remove(segment).await?;
        self.floor = segment + 1;
        let statements = &self.inner.statements;
        statements.trimmed(slot, self.epoch, self.floor).await?;
        metrics::counter!("hanse_log_trimmed_total").increment(1);
        Ok(true)
    }

    /// Sees that every row of the segment is in the archives, or was overwritten since.
    async fn read_back(&self, segment: i64) -> Result<(), TrimError> {
        let (slot, mut after) = (self.shared.slot, 0);
        loop {
            let statements = &self.inner.statements;
            let page = statements.batches_after(slot, segment, after, PAGE_BATCHES);
            let page = page.await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.seq;
            self.read_back_page(&page).await?;
        }
    }

    async fn read_back_page(&self, page: &[StoredBatch]) -> Result<(), TrimError> {
        let mut mutations = Vec::new();
        for batch in page {
            let entries = decode(batch).map_err(TrimError::Corrupt)?;
            let (applier, slot) = (self.inner.applier.as_ref(), self.shared.slot);
            let rows = rows_of(applier, slot, &entries, batch.seq, batch.stamp_start);
            mutations.extend(rows.into_mutations());
        }
        let mut checks = stream::iter(mutations)
            .map(|mutation| self.missing(mutation))
            .buffered(READS_AT_ONCE);
        let mut repairs = Vec::new();
        while let Some(missing) = checks.next().await {
            repairs.extend(missing?);
        }
        drop(checks);
        self.repair(repairs).await
    }

    /// The mutation, unless the archives show just what it wrote.
    async fn missing(&self, mutation: Mutation) -> Result<Option<Mutation>, StoreError> {
        let (table, key) = (mutation.table(), mutation.key());
        let row = self
            .inner
            .store
            .get(table, key, Consistency::Quorum)
            .await?;
        let shown = match (&mutation, row) {
            (Mutation::Put(put), Some(row)) => row.values == put.values,
            (Mutation::Delete(_), None) => true,
            (Mutation::Put(_), None) | (Mutation::Delete(_), Some(_)) => false,
        };
        Ok((!shown).then_some(mutation))
    }

    /// Writes again what reads differently. Most of it was overwritten by later entries, whose
    /// higher stamps win over what is written here; what was lost is there again.
    async fn repair(&self, mutations: Vec<Mutation>) -> Result<(), TrimError> {
        if mutations.is_empty() {
            return Ok(());
        }
        let count = mutations.len() as u64;
        metrics::counter!("hanse_log_rewritten_total").increment(count);
        let written = self.inner.store.apply(mutations, Durability::Synced);
        Ok(written.await?)
    }

    async fn remove(&self, segment: i64) -> Result<(), TrimError> {
        let slot = self.shared.slot;
        let statements = &self.inner.statements;
        let is_gone = || async { Ok(statements.head(slot, segment).await?.is_none()) };
        match settle(|| statements.trim(slot, segment), is_gone).await {
            Settled::Landed => Ok(()),
            // Trimmed before: by us, before we knew that it landed, or by a former owner.
            Settled::Refused if is_gone().await? => Ok(()),
            Settled::NotWritten(error) => Err(error.into()),
            Settled::Refused | Settled::InDoubt => Err(TrimError::Refused),
        }
    }
}

/// The oldest segment that any cursor of the slot still stands in.
pub(crate) fn oldest(cursors: &[(String, LogPoint)], names: &[&'static str]) -> i64 {
    let unread = |name: &&str| !cursors.iter().any(|(cursor, _)| cursor == name);
    if names.iter().any(unread) {
        return 0;
    }
    let segments = cursors.iter().map(|(_, point)| point.segment);
    segments.min().unwrap_or(i64::MAX)
}
