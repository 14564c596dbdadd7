//! Durable consumers: each has a cursor per slot that never goes back, sees every entry at least
//! once and in order, and is idempotent by position.

use std::{fmt::Display, sync::Arc, time::Duration};

use async_trait::async_trait;
use hanse_store::{Outcome, StoreError};

use crate::{AppliedBatch, LogPoint, Position, Slot, SlotLogs};

/// Pause after a consumer failed, before the same batch is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// A cursor is written at most this often.
const CURSOR_PERIOD: Duration = Duration::from_secs(1);

/// Something that must see every entry.
#[async_trait]
pub trait Consumer: Send + Sync + 'static {
    /// Its failure; the batch is tried again.
    type Error: Display + Send;

    /// Its name in table `cursors`; never changed.
    fn name(&self) -> &'static str;

    /// Takes a batch; may see it again after a crash.
    async fn consume(&self, batch: &AppliedBatch) -> Result<(), Self::Error>;
}

/// Runs a consumer over one slot until the process drains.
pub(crate) async fn run_consumer<C: Consumer>(logs: SlotLogs, slot: Slot, consumer: Arc<C>) {
    let soft = logs.tasks().soft().clone();
    let work = async {
        loop {
            if let Err(error) = consume_slot(&logs, slot, consumer.as_ref()).await {
                tracing::warn!(slot = slot.0, consumer = consumer.name(), %error, "a consumer failed");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    };
    soft.run_until_cancelled(work).await;
}

async fn consume_slot<C: Consumer>(
    logs: &SlotLogs,
    slot: Slot,
    consumer: &C,
) -> Result<(), StoreError> {
    let stored = logs.statements().cursor(slot, consumer.name()).await?;
    let mut cursor = Cursor {
        logs,
        slot,
        consumer: consumer.name(),
        stored,
    };
    let mut at = cursor.point();
    loop {
        let batches = logs.read_after(slot, at).await?;
        if batches.is_empty() {
            let next = logs.wait_applied(slot, Position::new(at.seq + 1, 0));
            if tokio::time::timeout(CURSOR_PERIOD, next).await.is_err() {
                cursor.write(at).await?;
                logs.wait_applied(slot, Position::new(at.seq + 1, 0)).await;
            }
            continue;
        }
        for batch in batches {
            while let Err(error) = consumer.consume(&batch).await {
                tracing::warn!(slot = slot.0, consumer = consumer.name(), %error, "a batch waits");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            at = batch.point;
        }
        cursor.write_if_far(at).await?;
    }
}

struct Cursor<'a> {
    logs: &'a SlotLogs,
    slot: Slot,
    consumer: &'static str,
    stored: Option<(i64, i64)>,
}

impl Cursor<'_> {
    /// Batches after which the cursor is written even under load.
    const LAG_BATCHES_MAX: i64 = 256;

    fn point(&self) -> LogPoint {
        self.stored
            .map_or(LogPoint::default(), |(segment, position)| LogPoint {
                segment,
                seq: Position::from_packed(position).seq(),
            })
    }

    async fn write_if_far(&mut self, at: LogPoint) -> Result<(), StoreError> {
        if at.seq - self.point().seq >= Self::LAG_BATCHES_MAX {
            self.write(at).await
        } else {
            Ok(())
        }
    }

    /// Moves the stored cursor; if another consumer of this name moved it, takes its place.
    async fn write(&mut self, at: LogPoint) -> Result<(), StoreError> {
        if at.seq <= self.point().seq {
            return Ok(());
        }
        let to = (at.segment, Position::end_of(at.seq).packed());
        let statements = self.logs.statements();
        let moved = statements
            .move_cursor(self.slot, self.consumer, self.stored, to)
            .await?;
        self.stored = match moved {
            Outcome::Applied => Some(to),
            Outcome::Refused { .. } => statements.cursor(self.slot, self.consumer).await?,
        };
        Ok(())
    }
}
