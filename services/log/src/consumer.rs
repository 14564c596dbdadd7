//! Durable consumers: each has a cursor per slot that never goes back, sees every entry at least
//! once and in order, and is idempotent by position. It runs where the slot is served.

use std::{fmt::Display, sync::Arc, time::Duration};

use async_trait::async_trait;
use hanse_store::{Outcome, StoreError};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{
    AppliedBatch, LogPoint, Position, ReadError, Slot,
    read::read_after,
    sabotage::Sabotage,
    slots::{Inner, gauge_value},
    trim,
};

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

    /// Takes a batch; may see it again after a crash, or after the slot changed hands.
    async fn consume(&self, batch: &AppliedBatch) -> Result<(), Self::Error>;

    /// Brings up to date, from the archives, what it makes of a slot: what it had to read next is
    /// no longer in the log, and it goes on at `first`. That happens only to a consumer that is not
    /// among [`LogParts::consumers`](crate::LogParts::consumers), or was not at the time; without
    /// anything to bring up to date, it goes on.
    async fn rebuild(&self, _slot: Slot, _first: LogPoint) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// A consumer, whatever its errors.
#[async_trait]
trait AnyConsumer: Send + Sync + 'static {
    fn name(&self) -> &'static str;
    async fn consume(&self, batch: &AppliedBatch) -> Result<(), String>;
    async fn rebuild(&self, slot: Slot, first: LogPoint) -> Result<(), String>;
}

struct Erased<C>(Arc<C>);

#[async_trait]
impl<C: Consumer> AnyConsumer for Erased<C> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    async fn consume(&self, batch: &AppliedBatch) -> Result<(), String> {
        self.0.consume(batch).await.map_err(|e| e.to_string())
    }

    async fn rebuild(&self, slot: Slot, first: LogPoint) -> Result<(), String> {
        let rebuilt = self.0.rebuild(slot, first).await;
        rebuilt.map_err(|e| e.to_string())
    }
}

/// The consumers of this process, which run over each slot that it serves.
pub(crate) struct Consumers {
    /// Those that there will be; the log is kept for them before they have begun.
    expected: Vec<&'static str>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    all: Vec<Arc<dyn AnyConsumer>>,
    /// The slots that are served, each with the token that ends its consumers.
    served: Vec<(Slot, CancellationToken)>,
}

impl Consumers {
    pub(crate) fn expecting(expected: Vec<&'static str>) -> Self {
        Self {
            expected,
            state: Mutex::default(),
        }
    }

    /// Adds a consumer, and starts it over what is served already.
    pub(crate) fn add<C: Consumer>(&self, inner: &Arc<Inner>, consumer: &Arc<C>) {
        let consumer: Arc<dyn AnyConsumer> = Arc::new(Erased(Arc::clone(consumer)));
        let mut state = self.state.lock();
        for (slot, ended) in &state.served {
            spawn(inner, *slot, &consumer, ended);
        }
        state.all.push(consumer);
    }

    /// Starts every consumer over a slot, until the token is cancelled.
    pub(crate) fn serve(&self, inner: &Arc<Inner>, slot: Slot, ended: &CancellationToken) {
        let mut state = self.state.lock();
        for consumer in &state.all {
            spawn(inner, slot, consumer, ended);
        }
        state.served.retain(|(_, ended)| !ended.is_cancelled());
        state.served.push((slot, ended.clone()));
    }

    /// Lets go of all of them; those that run go on to their end.
    pub(crate) fn forget(&self) {
        let forgotten = std::mem::take(&mut *self.state.lock());
        drop(forgotten);
    }

    /// The oldest segment of the slot that a consumer may still have to read.
    pub(crate) async fn oldest_segment(
        &self,
        inner: &Inner,
        slot: Slot,
    ) -> Result<i64, StoreError> {
        let names = self.names();
        let cursors = inner.statements.cursors(slot).await?;
        Ok(trim::oldest(&cursors, &names))
    }

    fn names(&self) -> Vec<&'static str> {
        let state = self.state.lock();
        let begun = state.all.iter().map(|consumer| consumer.name());
        begun.chain(self.expected.iter().copied()).collect()
    }
}

fn spawn(
    inner: &Arc<Inner>,
    slot: Slot,
    consumer: &Arc<dyn AnyConsumer>,
    ended: &CancellationToken,
) {
    let run = run_consumer(Arc::clone(inner), slot, Arc::clone(consumer), ended.clone());
    inner.tasks.spawn("log-consumer", run);
}

/// Runs a consumer over one slot for as long as it is served here, or until the process drains.
async fn run_consumer(
    inner: Arc<Inner>,
    slot: Slot,
    consumer: Arc<dyn AnyConsumer>,
    ended: CancellationToken,
) {
    let soft = inner.tasks.soft().clone();
    let mut run = Run {
        inner: &inner,
        slot,
        consumer: consumer.as_ref(),
        stored: None,
        at: LogPoint::default(),
        shown: metrics::gauge!(
            "hanse_log_consumed_position",
            "slot" => slot.0.to_string(),
            "consumer" => consumer.name(),
        ),
    };
    tokio::select! {
        biased;
        () = soft.cancelled() => {}
        () = ended.cancelled() => {}
        () = run.until_cut() => {}
    }
    // The next owner then need not see it all again.
    if let Err(error) = run.write_cursor().await {
        tracing::warn!(slot = slot.0, consumer = run.consumer.name(), %error, "a cursor stays behind");
    }
}

/// A consumer at work on one slot.
struct Run<'a> {
    inner: &'a Inner,
    slot: Slot,
    consumer: &'a dyn AnyConsumer,
    /// The cursor as stored.
    stored: Option<LogPoint>,
    /// The last batch that was consumed.
    at: LogPoint,
    /// The same, for whoever watches.
    shown: metrics::Gauge,
}

impl Run<'_> {
    /// Batches after which the cursor is written even under load.
    const LAG_BATCHES_MAX: i64 = 256;

    async fn until_cut(&mut self) {
        loop {
            if let Err(error) = self.consume().await {
                let (slot, consumer) = (self.slot.0, self.consumer.name());
                tracing::warn!(slot, consumer, %error, "a consumer failed");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }

    /// Consumes from the stored cursor on, until the store fails.
    async fn consume(&mut self) -> Result<(), ReadError> {
        let (statements, name) = (&self.inner.statements, self.consumer.name());
        self.stored = statements.cursor(self.slot, name).await?;
        self.at = self.stored.unwrap_or_default();
        loop {
            let batches = match read_after(self.inner, self.slot, self.at).await {
                Err(ReadError::Trimmed { first, .. }) => {
                    self.rebuild(first).await;
                    continue;
                }
                read => read?,
            };
            if batches.is_empty() {
                self.wait().await?;
                continue;
            }
            for batch in batches {
                self.take(&batch).await;
            }
            if self.at.seq - self.stored.unwrap_or_default().seq >= Self::LAG_BATCHES_MAX {
                self.write_cursor().await?;
            }
        }
    }

    /// It came too late: the archives tell what the log no longer does.
    async fn rebuild(&mut self, first: LogPoint) {
        let (slot, consumer) = (self.slot.0, self.consumer.name());
        tracing::warn!(slot, consumer, seq = first.seq, "the log begins later");
        while let Err(error) = self.consumer.rebuild(self.slot, first).await {
            tracing::warn!(slot, consumer, %error, "a rebuild failed");
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        metrics::counter!("hanse_log_rebuilds_total", "consumer" => consumer).increment(1);
        self.at = LogPoint {
            seq: first.seq - 1,
            ..first
        };
    }

    async fn take(&mut self, batch: &AppliedBatch) {
        if self.inner.saboteur.does(Sabotage::CursorBeforeWork) {
            self.at = batch.point;
        }
        while let Err(error) = self.consumer.consume(batch).await {
            let (slot, consumer) = (self.slot.0, self.consumer.name());
            tracing::warn!(slot, consumer, %error, "a batch waits");
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        self.at = batch.point;
        self.shown.set(gauge_value(self.at.seq));
    }

    /// Until there is more; meanwhile the cursor is written.
    async fn wait(&mut self) -> Result<(), StoreError> {
        let next = Position::new(self.at.seq + 1, 0);
        let more = self.inner.wait_applied(self.slot, next);
        if tokio::time::timeout(CURSOR_PERIOD, more).await.is_err() {
            self.write_cursor().await?;
            self.inner.wait_applied(self.slot, next).await;
        }
        Ok(())
    }

    /// Moves the stored cursor; if another consumer of this name moved it, takes its place.
    async fn write_cursor(&mut self) -> Result<(), StoreError> {
        if self.at.seq <= self.stored.unwrap_or_default().seq {
            return Ok(());
        }
        let (statements, name) = (&self.inner.statements, self.consumer.name());
        let moved = statements
            .move_cursor(self.slot, name, self.stored, self.at)
            .await?;
        self.stored = match moved {
            Outcome::Applied => Some(self.at),
            Outcome::Refused { .. } => statements.cursor(self.slot, name).await?,
        };
        Ok(())
    }
}
