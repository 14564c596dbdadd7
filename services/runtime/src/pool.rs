//! A bounded pool for work that must not run on the async threads.

use std::fmt::Debug;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use crate::tasks::report_panic;

/// Why a pool did not do the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// All threads are busy and the queue is full; worth a retry later.
    #[error("the pool {pool} is busy and its queue of {queue_len_max} is full")]
    Full {
        /// The pool's name.
        pool: &'static str,
        /// How many may wait.
        queue_len_max: usize,
    },
    /// The work panicked; it was logged and counted.
    #[error("work on the pool {pool} panicked")]
    Panicked {
        /// The pool's name.
        pool: &'static str,
    },
    /// The process is ending.
    #[error("the pool {pool} is closed")]
    Closed {
        /// The pool's name.
        pool: &'static str,
    },
}

/// At most `threads` pieces of work at once and `queue_len_max` waiting; what comes on top is
/// refused at once. Clones are the same pool.
#[derive(Clone, Debug)]
pub struct BlockingPool {
    name: &'static str,
    queue_len_max: usize,
    /// Work that runs or waits.
    admitted: Arc<Semaphore>,
    /// Work that runs.
    running: Arc<Semaphore>,
    tracker: TaskTracker,
}

/// Held by the work itself: when the caller goes away, what runs still counts.
struct Place {
    _admitted: OwnedSemaphorePermit,
    _running: OwnedSemaphorePermit,
}

impl BlockingPool {
    pub(crate) fn new(
        name: &'static str,
        threads: usize,
        queue_len_max: usize,
        tracker: TaskTracker,
    ) -> Self {
        let threads = threads.max(1);
        Self {
            name,
            queue_len_max,
            admitted: Arc::new(Semaphore::new(threads.saturating_add(queue_len_max))),
            running: Arc::new(Semaphore::new(threads)),
            tracker,
        }
    }

    /// Runs `work` on a thread of its own. Dropping the future takes work that still waits out of
    /// the queue; work that has begun goes on to its end.
    pub async fn run<T, W>(&self, work: W) -> Result<T, PoolError>
    where
        T: Send + 'static,
        W: FnOnce() -> T + Send + 'static,
    {
        let place = self.place().await?;
        let task = self.tracker.spawn_blocking(move || {
            let _place = place;
            work()
        });
        task.await.map_err(|lost| match lost.try_into_panic() {
            Ok(panic) => {
                report_panic(self.name, panic.as_ref());
                PoolError::Panicked { pool: self.name }
            }
            Err(_) => PoolError::Closed { pool: self.name },
        })
    }

    async fn place(&self) -> Result<Place, PoolError> {
        let admitted = Arc::clone(&self.admitted)
            .try_acquire_owned()
            .map_err(|_| self.full())?;
        let running = Arc::clone(&self.running).acquire_owned().await;
        let running = running.map_err(|_| PoolError::Closed { pool: self.name })?;
        Ok(Place {
            _admitted: admitted,
            _running: running,
        })
    }

    fn full(&self) -> PoolError {
        metrics::counter!("hanse_pool_full_total", "pool" => self.name).increment(1);
        PoolError::Full {
            pool: self.name,
            queue_len_max: self.queue_len_max,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;
    use std::time::Duration;

    use super::*;
    use crate::Tasks;

    /// Waits until `admitted` pieces of work are in the pool.
    async fn settle(pool: &BlockingPool, free: usize) {
        while pool.admitted.available_permits() != free {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn work_past_the_queue_is_refused_and_queued_work_is_done() {
        let tasks = Tasks::new();
        let pool = tasks.blocking_pool("test", 1, 1);
        let (release, gate) = sync_channel::<()>(1);
        let (first, second) = (pool.clone(), pool.clone());
        let busy = tasks.spawn("busy", async move {
            first.run(move || gate.recv().is_ok()).await
        });
        settle(&pool, 1).await;
        let queued = tasks.spawn("queued", async move { second.run(|| 2).await });
        settle(&pool, 0).await;

        let refused = pool.run(|| 3).await;
        assert_eq!(
            refused,
            Err(PoolError::Full {
                pool: "test",
                queue_len_max: 1
            })
        );

        release.send(()).unwrap();
        assert_eq!(busy.await.unwrap(), Ok(Ok(true)));
        assert_eq!(queued.await.unwrap(), Ok(Ok(2)));
        assert_eq!(pool.run(|| 4).await, Ok(4));
    }

    #[tokio::test]
    async fn a_caller_that_leaves_frees_its_place_in_the_queue() {
        let tasks = Tasks::new();
        let pool = tasks.blocking_pool("test", 1, 1);
        let (release, gate) = sync_channel::<()>(1);
        let first = pool.clone();
        let busy = tasks.spawn("busy", async move {
            first.run(move || gate.recv().is_ok()).await
        });
        settle(&pool, 1).await;
        let gone = tokio::time::timeout(Duration::from_millis(5), pool.run(|| ())).await;
        assert!(gone.is_err());
        assert_eq!(pool.admitted.available_permits(), 1);
        release.send(()).unwrap();
        assert_eq!(busy.await.unwrap(), Ok(Ok(true)));
    }

    #[tokio::test]
    async fn a_panic_is_reported_and_the_thread_is_not_lost() {
        let pool = Tasks::new().blocking_pool("test", 1, 0);
        let lost = pool.run(|| panic!("no")).await;
        assert_eq!(lost, Err::<(), _>(PoolError::Panicked { pool: "test" }));
        assert_eq!(pool.run(|| 1).await, Ok(1));
    }
}
