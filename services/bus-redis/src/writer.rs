//! The one task that publishes.

use std::sync::Arc;

use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    backoff::Backoff,
    link::{Link, LinkError, Servers},
};

/// Messages that may wait to be sent; each is at most a little larger than a body.
pub(crate) const QUEUE_LEN_MAX: usize = 2_048;
/// Messages of one pipeline. While its answers are awaited, the next one gathers.
const PIPELINE_LEN_MAX: usize = 512;

/// A message on its way to the server.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) channel: String,
    pub(crate) body: Vec<u8>,
}

/// Counts messages that nobody will hear.
pub(crate) fn count_dropped(reason: &'static str, count: usize) {
    metrics::counter!("hanse_bus_dropped_total", "reason" => reason).increment(count as u64);
}

/// Takes from the queue and sends. While the server cannot be reached it takes and drops: what
/// waited for long is of no use to anybody.
pub(crate) struct Writer {
    pub(crate) servers: Arc<Servers>,
    pub(crate) queue: mpsc::Receiver<Outgoing>,
    pub(crate) backoff: Backoff,
    pub(crate) soft: CancellationToken,
}

impl Writer {
    /// Until the process drains; what is queued then is still sent, if it can be.
    pub(crate) async fn run(mut self) {
        let mut link = None;
        while !self.soft.is_cancelled() {
            let lost = match link.take() {
                None => self.connect(&mut link).await,
                Some(mut open) => {
                    let sent = self.send_next(&mut open).await;
                    link = sent.is_ok().then_some(open);
                    sent
                }
            };
            if let Err(error) = lost {
                self.wait_dropping(&error).await;
            }
        }
        if let Some(link) = &mut link {
            self.send_rest(link).await;
        }
    }

    async fn connect(&self, link: &mut Option<Link>) -> Result<(), LinkError> {
        tokio::select! {
            biased;
            () = self.soft.cancelled() => Ok(()),
            opened = self.servers.connect() => {
                *link = Some(opened?);
                Ok(())
            }
        }
    }

    /// Waits for messages and sends as many as there are.
    async fn send_next(&mut self, link: &mut Link) -> Result<(), LinkError> {
        let mut batch = Vec::new();
        let taken = tokio::select! {
            biased;
            () = self.soft.cancelled() => 0,
            taken = self.queue.recv_many(&mut batch, PIPELINE_LEN_MAX) => taken,
        };
        if taken == 0 {
            // All publishers are gone, or the process drains.
            self.soft.cancelled().await;
            return Ok(());
        }
        send(link, &batch).await?;
        self.backoff.reset();
        Ok(())
    }

    async fn send_rest(&mut self, link: &mut Link) {
        self.queue.close();
        let mut batch = Vec::new();
        while self.queue.recv_many(&mut batch, PIPELINE_LEN_MAX).await > 0 {
            if let Err(error) = send(link, &batch).await {
                tracing::debug!(%error, "the bus was not told everything at the end");
                return;
            }
            batch.clear();
        }
    }

    async fn wait_dropping(&mut self, error: &LinkError) {
        let wait = self.backoff.next();
        tracing::warn!(
            error = error as &dyn std::error::Error,
            wait_ms = wait.as_millis() as u64,
            "nothing can be shown on the bus at present"
        );
        let mut over = std::pin::pin!(sleep(wait));
        loop {
            tokio::select! {
                biased;
                () = self.soft.cancelled() => return,
                () = &mut over => return,
                Some(_) = self.queue.recv() => count_dropped("unreachable", 1),
            }
        }
    }
}

/// Sends; what may not have arrived is counted as dropped.
async fn send(link: &mut Link, batch: &[Outgoing]) -> Result<(), LinkError> {
    match link.publish(batch).await {
        Ok(()) => {
            metrics::counter!("hanse_bus_published_total").increment(batch.len() as u64);
            Ok(())
        }
        Err(error) => {
            count_dropped("failed", batch.len());
            Err(error.into())
        }
    }
}
