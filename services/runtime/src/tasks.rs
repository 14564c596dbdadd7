//! The only place where tasks start, so that drain knows what it waits for.

use std::any::Any;
use std::fmt::Debug;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::pool::BlockingPool;

/// Why a task gave no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskLost {
    /// It panicked; the panic was logged and counted.
    #[error("the task {task} panicked")]
    Panicked {
        /// The task's name.
        task: &'static str,
    },
    /// The hard token ended it.
    #[error("the task {task} was cut off by a hard stop")]
    Cut {
        /// The task's name.
        task: &'static str,
    },
}

/// Awaits a task's result. Dropping it does not stop the task.
pub type TaskHandle<T> = JoinHandle<Result<T, TaskLost>>;

/// Polls a group's tasks instead of tokio. For the simulation, which decides whose turn it is,
/// freezes processes, and drops their tasks as a kill would.
pub trait Scheduler: Debug + Send + Sync + 'static {
    /// Polls the task until it ends, or drops it.
    fn start(&self, name: &'static str, task: BoxFuture<'static, ()>);
}

/// A group of tasks with two tokens: *soft* asks them to finish, *hard* cuts them at their next
/// await. Clones are the same group.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    soft: CancellationToken,
    hard: CancellationToken,
    failed: CancellationToken,
    scheduler: Option<Arc<dyn Scheduler>>,
}

impl Tasks {
    /// A group of its own, for tests and tools. A server takes its groups from
    /// [`Lifecycle::tasks`](crate::Lifecycle::tasks).
    pub fn new() -> Self {
        Self::default()
    }

    /// A group whose tasks are polled by `scheduler`.
    pub fn scheduled_by(scheduler: Arc<dyn Scheduler>) -> Self {
        Self {
            scheduler: Some(scheduler),
            ..Self::default()
        }
    }

    /// A group whose hard stop and failure are shared with others.
    pub(crate) fn sharing(hard: CancellationToken, failed: CancellationToken) -> Self {
        Self {
            hard,
            failed,
            ..Self::default()
        }
    }

    /// Starts a task. A panic ends that task alone: it is logged, counted in
    /// `hanse_task_panics_total{task}` and reported to whoever awaits the handle.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> TaskHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let hard = self.hard.clone();
        let task = async move {
            let caught = AssertUnwindSafe(future).catch_unwind();
            // Biased: what is cut must not run on because something else woke it, too.
            tokio::select! {
                biased;
                () = hard.cancelled() => Err(TaskLost::Cut { task: name }),
                ended = caught => ended.map_err(|panic| report_panic(name, panic.as_ref())),
            }
        };
        let Some(scheduler) = &self.scheduler else {
            return self.tracker.spawn(task);
        };
        let (done, result) = oneshot::channel();
        scheduler.start(
            name,
            Box::pin(async move {
                let _ = done.send(task.await);
            }),
        );
        let dropped = Err(TaskLost::Cut { task: name });
        self.tracker
            .spawn(async move { result.await.unwrap_or(dropped) })
    }

    /// Starts a task without which the process is of no use: when it panics, or ends before the
    /// soft token was cancelled, the whole process drains and exits with a failure.
    pub fn spawn_critical<F>(&self, name: &'static str, future: F) -> TaskHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (soft, failed) = (self.soft.clone(), self.failed.clone());
        let guard = FailOnDrop { name, soft, failed };
        self.spawn(name, async move {
            let _guard = guard;
            future.await
        })
    }

    /// A bounded pool for work that blocks or computes for long; see [`BlockingPool`].
    pub fn blocking_pool(
        &self,
        name: &'static str,
        threads: usize,
        queue_len_max: usize,
    ) -> BlockingPool {
        BlockingPool::new(name, threads, queue_len_max, self.tracker.clone())
    }

    /// Cancelled when the group shall finish: take no new work, end long polls, flush, return.
    pub fn soft(&self) -> &CancellationToken {
        &self.soft
    }

    /// Cancelled when the group is cut off.
    pub fn hard(&self) -> &CancellationToken {
        &self.hard
    }

    /// How many tasks of the group run.
    pub fn running(&self) -> usize {
        self.tracker.len()
    }

    /// Cancels the soft token and waits until the last task has ended.
    pub async fn finish(&self) {
        self.soft.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Tells the lifecycle when a critical task ended while nobody asked it to, whichever way.
struct FailOnDrop {
    name: &'static str,
    soft: CancellationToken,
    failed: CancellationToken,
}

impl Drop for FailOnDrop {
    fn drop(&mut self) {
        if !self.soft.is_cancelled() {
            tracing::error!(task.name = self.name, "a critical task ended early");
            self.failed.cancel();
        }
    }
}

/// Logs and counts a caught panic.
pub(crate) fn report_panic(task: &'static str, panic: &(dyn Any + Send)) -> TaskLost {
    metrics::counter!("hanse_task_panics_total", "task" => task).increment(1);
    tracing::error!(
        task.name = task,
        panic.message = panic_message(panic),
        "a task panicked"
    );
    TaskLost::Panicked { task }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&'static str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_its_task_alone() {
        let tasks = Tasks::new();
        let bad = tasks.spawn("bad", async { panic!("no") });
        let good = tasks.spawn("good", async { 7 });
        assert_eq!(
            bad.await.unwrap(),
            Err::<(), _>(TaskLost::Panicked { task: "bad" })
        );
        assert_eq!(good.await.unwrap(), Ok(7));
        assert!(!tasks.failed.is_cancelled());
    }

    #[tokio::test]
    async fn finish_waits_for_tasks_that_heed_the_soft_token() {
        let tasks = Tasks::new();
        let soft = tasks.soft().clone();
        let task = tasks.spawn("polite", async move {
            soft.cancelled().await;
            "flushed"
        });
        tasks.finish().await;
        assert_eq!(tasks.running(), 0);
        assert_eq!(task.await.unwrap(), Ok("flushed"));
    }

    #[tokio::test]
    async fn the_hard_token_cuts_a_task_that_does_not_listen() {
        let tasks = Tasks::new();
        let deaf = tasks.spawn("deaf", std::future::pending::<()>());
        tasks.hard().cancel();
        assert_eq!(deaf.await.unwrap(), Err(TaskLost::Cut { task: "deaf" }));
    }

    #[derive(Default)]
    struct Shelf(parking_lot::Mutex<Vec<BoxFuture<'static, ()>>>);

    impl Debug for Shelf {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Shelf")
        }
    }

    impl Scheduler for Shelf {
        fn start(&self, _: &'static str, task: BoxFuture<'static, ()>) {
            self.0.lock().push(task);
        }
    }

    #[tokio::test]
    async fn a_scheduler_polls_or_drops_what_is_spawned() {
        let shelf = Arc::new(Shelf::default());
        let tasks = Tasks::scheduled_by(Arc::clone(&shelf) as _);
        let (polled, dropped) = (
            tasks.spawn("polled", async { 7 }),
            tasks.spawn("dropped", async {}),
        );
        tokio::task::yield_now().await;
        assert_eq!(tasks.running(), 2, "nobody has polled them");
        let shelved = shelf.0.lock().drain(..).next();
        shelved.unwrap().await;
        assert_eq!(polled.await.unwrap(), Ok(7));
        let cut = Err(TaskLost::Cut { task: "dropped" });
        assert_eq!(dropped.await.unwrap(), cut);
        tasks.finish().await;
    }

    #[tokio::test]
    async fn a_critical_task_that_panics_or_returns_early_fails_the_process() {
        for panics in [true, false] {
            let tasks = Tasks::new();
            let ended = tasks.spawn_critical("vital", async move { assert!(!panics) });
            assert_eq!(ended.await.unwrap().is_err(), panics);
            assert!(tasks.failed.is_cancelled());
        }
        let tasks = Tasks::new();
        let soft = tasks.soft().clone();
        let _task = tasks.spawn_critical("vital", async move { soft.cancelled().await });
        tasks.finish().await;
        assert!(!tasks.failed.is_cancelled());
    }
}
