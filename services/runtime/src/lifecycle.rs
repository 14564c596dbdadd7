//! From start to exit: stages, the orderly drain, and the hard stop behind it.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{Readiness, Tasks};

/// How long a hard stop waits for work that cannot be cut off.
const CUT_GRACE: Duration = Duration::from_secs(5);

/// Groups of tasks, in the order in which a drain ends them. A stage is asked to finish only after
/// the one before it has ended, so that whoever serves a request finds what it stands on alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Listeners, connections, long polls.
    Front,
    /// Actors, consumers, the relay: what requests call. In a cluster also who keeps the slots, and
    /// hands them on now.
    Work,
    /// What answers and calls the other processes of a cluster, and this one's place among them.
    Cluster,
    /// The log's appliers and checkpoints, and the store.
    Store,
}

/// How long a drain may take.
#[derive(Clone, Copy, Debug)]
pub struct DrainLimits {
    /// Time between failing readiness and refusing connections, so that load balancers notice.
    pub readiness_delay: Duration,
    /// From the first signal to the hard stop.
    pub hard_after: Duration,
}

/// Why a process stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A signal, by name.
    Signal(&'static str),
    /// A critical task ended early.
    CriticalTask,
}

/// How a drain went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// What began it.
    pub stop: Stop,
    /// False when tasks were cut off by a second signal or by the time limit.
    pub orderly: bool,
}

impl Drained {
    /// Whether the process may exit with code 0.
    pub fn success(self) -> bool {
        self.orderly && self.stop != Stop::CriticalTask
    }
}

/// Where requests to stop come from: the operating system, or a test.
pub trait StopSignals: Send {
    /// The next request; its name is for the log.
    fn next(&mut self) -> impl Future<Output = &'static str> + Send;
}

/// SIGTERM and SIGINT.
#[derive(Debug)]
pub struct OsSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl OsSignals {
    /// Listens from now on. Call it before announcing that the server runs.
    pub fn listen() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self {
            terminate,
            interrupt,
        })
    }
}

impl StopSignals for OsSignals {
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// A request from within, for tests and sandboxes.
impl StopSignals for mpsc::Receiver<()> {
    async fn next(&mut self) -> &'static str {
        match self.recv().await {
            Some(()) => "request",
            None => std::future::pending().await,
        }
    }
}

/// The stages of a process and its readiness. Clones are the same process.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    limits: DrainLimits,
    readiness: Readiness,
    front: Tasks,
    work: Tasks,
    cluster: Tasks,
    store: Tasks,
    hard: CancellationToken,
    failed: CancellationToken,
}

impl Lifecycle {
    /// A process that runs nothing yet.
    pub fn new(limits: DrainLimits) -> Self {
        let (hard, failed) = (CancellationToken::new(), CancellationToken::new());
        let stage = || Tasks::sharing(hard.clone(), failed.clone());
        Self {
            limits,
            readiness: Readiness::default(),
            front: stage(),
            work: stage(),
            cluster: stage(),
            store: stage(),
            hard,
            failed,
        }
    }

    /// The group of tasks of a stage.
    pub fn tasks(&self, stage: Stage) -> &Tasks {
        match stage {
            Stage::Front => &self.front,
            Stage::Work => &self.work,
            Stage::Cluster => &self.cluster,
            Stage::Store => &self.store,
        }
    }

    /// What `/ready` answers from.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Waits for a reason to stop, then drains: readiness fails, after the delay the stages finish
    /// one after the other; a second signal or the time limit cuts off what is left.
    pub async fn run(&self, mut signals: impl StopSignals) -> Drained {
        let stop = tokio::select! {
            name = signals.next() => Stop::Signal(name),
            () = self.failed.cancelled() => Stop::CriticalTask,
        };
        tracing::info!(drain.reason = ?stop, "draining");
        self.readiness.drain();
        let orderly = tokio::select! {
            () = self.finish_stages() => true,
            name = signals.next() => self.cut(name),
            () = tokio::time::sleep(self.limits.hard_after) => self.cut("time limit"),
        };
        if !orderly {
            // Cut tasks end at once; only work on a blocking pool can still be under way.
            let _ = tokio::time::timeout(CUT_GRACE, self.finish_stages_now()).await;
        }
        Drained { stop, orderly }
    }

    async fn finish_stages(&self) {
        tokio::time::sleep(self.limits.readiness_delay).await;
        self.finish_stages_now().await;
    }

    async fn finish_stages_now(&self) {
        self.front.finish().await;
        self.work.finish().await;
        self.cluster.finish().await;
        self.store.finish().await;
    }

    /// Cuts off every task at its next await; work on a blocking pool still goes to its end.
    fn cut(&self, why: &'static str) -> bool {
        let left = [&self.front, &self.work, &self.cluster, &self.store].map(Tasks::running);
        tracing::warn!(drain.reason = why, drain.tasks_left = ?left, "drain cut short");
        self.hard.cancel();
        false
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tokio::time::{Instant, sleep};

    use super::*;

    const LIMITS: DrainLimits = DrainLimits {
        readiness_delay: Duration::from_secs(2),
        hard_after: Duration::from_secs(30),
    };

    type Journal = Arc<Mutex<Vec<(&'static str, u64)>>>;

    /// A task that needs `seconds` from its soft token on, and writes down when it was done.
    fn polite(process: &Lifecycle, stage: Stage, name: &'static str, seconds: u64, log: &Journal) {
        let (soft, log) = (process.tasks(stage).soft().clone(), Arc::clone(log));
        let started = Instant::now();
        process.tasks(stage).spawn(name, async move {
            soft.cancelled().await;
            sleep(Duration::from_secs(seconds)).await;
            log.lock().push((name, started.elapsed().as_secs()));
        });
    }

    #[tokio::test(start_paused = true)]
    async fn stages_end_in_order_after_the_readiness_delay() {
        let process = Lifecycle::new(LIMITS);
        let log = Journal::default();
        // The later a stage, the quicker its task: started together they would end the other way.
        polite(&process, Stage::Store, "store", 1, &log);
        polite(&process, Stage::Cluster, "cluster", 2, &log);
        polite(&process, Stage::Work, "work", 3, &log);
        polite(&process, Stage::Front, "front", 5, &log);
        let (send, signals) = mpsc::channel(1);
        send.send(()).await.unwrap();

        let drained = process.run(signals).await;
        assert_eq!(
            *log.lock(),
            [("front", 7), ("work", 10), ("cluster", 12), ("store", 13)]
        );
        assert_eq!(
            drained,
            Drained {
                stop: Stop::Signal("request"),
                orderly: true
            }
        );
        assert!(drained.success());
    }

    #[tokio::test(start_paused = true)]
    async fn readiness_fails_before_the_front_is_asked_to_finish() {
        let process = Lifecycle::new(LIMITS);
        let (readiness, soft) = (process.readiness().clone(), process.front.soft().clone());
        assert!(readiness.is_ready());
        let (send, signals) = mpsc::channel(1);
        let run = process.run(signals);
        tokio::pin!(run);
        send.send(()).await.unwrap();
        assert!(
            tokio::time::timeout(Duration::from_secs(1), &mut run)
                .await
                .is_err()
        );
        assert!(!readiness.is_ready());
        assert!(
            !soft.is_cancelled(),
            "connections are still welcome during the delay"
        );
        run.await;
        assert!(soft.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_cuts_off_what_does_not_listen() {
        let process = Lifecycle::new(LIMITS);
        process
            .tasks(Stage::Work)
            .spawn("deaf", std::future::pending::<()>());
        let (send, signals) = mpsc::channel(2);
        let started = Instant::now();
        for () in [(), ()] {
            send.send(()).await.unwrap();
        }
        let drained = process.run(signals).await;
        assert!(!drained.orderly && !drained.success());
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_limit_cuts_off_what_does_not_listen() {
        let process = Lifecycle::new(LIMITS);
        process
            .tasks(Stage::Front)
            .spawn("deaf", std::future::pending::<()>());
        let (send, signals) = mpsc::channel(1);
        let started = Instant::now();
        send.send(()).await.unwrap();
        assert!(!process.run(signals).await.orderly);
        assert_eq!(started.elapsed(), LIMITS.hard_after);
    }

    #[tokio::test(start_paused = true)]
    async fn a_critical_task_that_dies_drains_the_process_and_fails_it() {
        let process = Lifecycle::new(LIMITS);
        let log = Journal::default();
        polite(&process, Stage::Front, "front", 0, &log);
        process
            .tasks(Stage::Store)
            .spawn_critical("applier", async { panic!("no") });
        let (_send, signals) = mpsc::channel(1);
        let drained = process.run(signals).await;
        assert_eq!(
            drained,
            Drained {
                stop: Stop::CriticalTask,
                orderly: true
            }
        );
        assert!(!drained.success());
        assert_eq!(log.lock().len(), 1, "the others still finish in order");
    }
}
