//! Who is polled next: one thread, seeded turns, processes that can be frozen and killed.
//!
//! Everything of a run is polled from here, the code under test through [`Tasks`]. Of all tasks that
//! are ready one is drawn, so that a seed explores an order of its own. The set of ready tasks
//! is ordered: in which order tokio's primitives wake tasks does not matter.
//! Time is tokio's, paused: it jumps to the next timer when no task is ready.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::{Future, poll_fn},
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use futures::future::BoxFuture;
use hanse_runtime::{Scheduler, Tasks};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{dice::Dice, journal::Journal};

/// Turns at one moment of virtual time before a run counts as stuck.
const TURNS_AT_ONCE_MAX: u64 = 2_000_000;

/// A process of the run; a restarted one has a new number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ProcessId(pub(crate) u32);

/// Whoever is no process: network, clients, checks. Never frozen, never killed.
pub(crate) const WORLD: ProcessId = ProcessId(0);

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            WORLD => f.write_str("world"),
            Self(number) => write!(f, "p{number:<4}"),
        }
    }
}

/// A task; ordered by process, then by age.
type TaskId = (ProcessId, u64);

/// Clones are the same executor.
#[derive(Clone)]
pub(crate) struct Executor {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    dice: Dice,
    journal: Journal,
}

#[derive(Default)]
struct State {
    tasks: BTreeMap<TaskId, Task>,
    ready: BTreeSet<TaskId>,
    /// Woken while their process was frozen.
    held: BTreeSet<TaskId>,
    frozen: BTreeSet<ProcessId>,
    killed: BTreeSet<ProcessId>,
    started: u64,
    driver: Option<Waker>,
    turns_at_once: u64,
}

struct Task {
    /// `None` while it is polled.
    future: Option<BoxFuture<'static, ()>>,
    waker: Waker,
}

struct TaskWaker {
    id: TaskId,
    shared: Arc<Shared>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut state = self.shared.state.lock();
        if !state.tasks.contains_key(&self.id) {
            return;
        }
        if state.frozen.contains(&self.id.0) {
            state.held.insert(self.id);
        } else {
            state.ready.insert(self.id);
        }
        let driver = state.driver.clone();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

impl Executor {
    pub(crate) fn new(dice: Dice, journal: Journal) -> Self {
        let shared = Shared {
            state: Mutex::default(),
            dice,
            journal,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Starts a task of a process; nothing happens if the process was killed.
    pub(crate) fn spawn(
        &self,
        process: ProcessId,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.start(process, Box::pin(task));
    }

    fn start(&self, process: ProcessId, future: BoxFuture<'static, ()>) {
        let mut state = self.shared.state.lock();
        if state.killed.contains(&process) {
            drop(state);
            return;
        }
        state.started += 1;
        let id = (process, state.started);
        let shared = Arc::clone(&self.shared);
        let waker = Waker::from(Arc::new(TaskWaker { id, shared }));
        let future = Some(future);
        state.tasks.insert(
            id,
            Task {
                future,
                waker: waker.clone(),
            },
        );
        drop(state);
        waker.wake();
    }

    /// A process's tasks.
    pub(crate) fn tasks(&self, process: ProcessId) -> Tasks {
        let executor = self.clone();
        Tasks::scheduled_by(Arc::new(ProcessScheduler { executor, process }))
    }

    /// Runs until the task ends, then drops what is left.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        root: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Stuck> {
        let (done, mut result) = oneshot::channel();
        self.spawn(WORLD, async move {
            let _ = done.send(root.await);
        });
        let driven = poll_fn(|context| self.turns(context, &mut result));
        let driven = tokio::task::unconstrained(driven).await;
        self.drop_all();
        driven
    }

    fn turns<T>(
        &self,
        context: &Context<'_>,
        result: &mut oneshot::Receiver<T>,
    ) -> Poll<Result<T, Stuck>> {
        self.shared.begin();
        while let Some((id, future, waker)) = self.shared.next() {
            self.turn(id, future, &waker);
            match result.try_recv() {
                Ok(done) => return Poll::Ready(Ok(done)),
                Err(oneshot::error::TryRecvError::Closed) => return Poll::Ready(Err(Stuck::Root)),
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
            if self.shared.turns_at_once() > TURNS_AT_ONCE_MAX {
                return Poll::Ready(Err(Stuck::Busy));
            }
        }
        self.shared.rest(context.waker());
        Poll::Pending
    }

    fn turn(&self, id: TaskId, mut future: BoxFuture<'static, ()>, waker: &Waker) {
        self.shared.journal.turn(id.1);
        let ended = future
            .as_mut()
            .poll(&mut Context::from_waker(waker))
            .is_ready();
        let mut state = self.shared.state.lock();
        if ended || state.killed.contains(&id.0) {
            state.forget(id);
        } else if let Some(task) = state.tasks.get_mut(&id) {
            task.future = Some(future);
            return;
        }
        // Dropped without the lock: it may wake others.
        drop(state);
        drop(future);
    }

    /// Polls none of the process's tasks until it is thawed, whatever wakes them.
    pub(crate) fn freeze(&self, process: ProcessId) {
        let mut state = self.shared.state.lock();
        state.frozen.insert(process);
        let of_process = |id: &TaskId| id.0 == process;
        let (held, ready) = std::mem::take(&mut state.ready)
            .into_iter()
            .partition(of_process);
        state.ready = ready;
        let mut held: BTreeSet<TaskId> = held;
        state.held.append(&mut held);
    }

    pub(crate) fn thaw(&self, process: ProcessId) {
        let mut state = self.shared.state.lock();
        state.frozen.remove(&process);
        let of_process = |id: &TaskId| id.0 == process;
        let (mut ready, held): (BTreeSet<_>, _) = std::mem::take(&mut state.held)
            .into_iter()
            .partition(of_process);
        state.held = held;
        state.ready.append(&mut ready);
        let driver = state.driver.clone();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// Drops the process's tasks where they stand; one that is being polled, after its turn.
    pub(crate) fn kill(&self, process: ProcessId) {
        let mut state = self.shared.state.lock();
        state.killed.insert(process);
        state.frozen.remove(&process);
        let of_process = (process, 0)..=(process, u64::MAX);
        let ids: Vec<TaskId> = state.tasks.range(of_process).map(|(id, _)| *id).collect();
        let futures: Vec<_> = ids
            .into_iter()
            .filter_map(|id| state.take_idle(id))
            .collect();
        drop(state);
        drop(futures);
    }

    pub(crate) fn is_killed(&self, process: ProcessId) -> bool {
        self.shared.state.lock().killed.contains(&process)
    }

    fn drop_all(&self) {
        let tasks = std::mem::take(&mut self.shared.state.lock().tasks);
        drop(tasks);
    }
}

impl Shared {
    /// While turns are taken, nobody needs to be told that a task is ready.
    fn begin(&self) {
        let mut state = self.state.lock();
        state.driver = None;
        state.turns_at_once = 0;
    }

    fn rest(&self, driver: &Waker) {
        self.state.lock().driver = Some(driver.clone());
    }

    fn turns_at_once(&self) -> u64 {
        self.state.lock().turns_at_once
    }

    /// Draws one of the ready tasks.
    fn next(&self) -> Option<(TaskId, BoxFuture<'static, ()>, Waker)> {
        let mut state = self.state.lock();
        loop {
            let drawn = self.dice.below(state.ready.len());
            let id = *state.ready.iter().nth(drawn)?;
            state.ready.remove(&id);
            state.turns_at_once += 1;
            let Some(task) = state.tasks.get_mut(&id) else {
                continue;
            };
            if let Some(future) = task.future.take() {
                return Some((id, future, task.waker.clone()));
            }
        }
    }
}

impl State {
    fn forget(&mut self, id: TaskId) {
        self.tasks.remove(&id);
        self.ready.remove(&id);
        self.held.remove(&id);
    }

    /// The future of a task that is not being polled; the task is forgotten.
    fn take_idle(&mut self, id: TaskId) -> Option<BoxFuture<'static, ()>> {
        let future = self.tasks.get_mut(&id)?.future.take()?;
        self.forget(id);
        Some(future)
    }
}

/// Why a run came to no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stuck {
    /// Tasks wake each other for ever while no time passes.
    #[error("tasks wake each other for ever")]
    Busy,
    /// The run's own task panicked.
    #[error("the run's own task is gone")]
    Root,
}

struct ProcessScheduler {
    executor: Executor,
    process: ProcessId,
}

impl fmt::Debug for ProcessScheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProcessScheduler({})", self.process)
    }
}

impl Scheduler for ProcessScheduler {
    fn start(&self, _: &'static str, task: BoxFuture<'static, ()>) {
        self.executor.start(self.process, task);
    }
}
