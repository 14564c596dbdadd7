//! Keeps the slots that this process should serve: asks the plan what is due, and carries it out.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use futures::{StreamExt, future::BoxFuture, stream, stream::FuturesUnordered};
use hanse_log::{OpenError, Slot, SlotOwner};
use hanse_runtime::{Clock, Random, Tasks};
use tokio::sync::{mpsc, oneshot};

use crate::{
    HandOver, HandOverError, Member, Membership, Slots,
    membership::Stay,
    plan::{Plan, Step},
    timing::STAY,
};

/// What others may ask while the keeper is busy.
const COMMANDS_LEN_MAX: usize = 64;
/// A row that takes longer to read is looked at again later.
const LOOK_TIMEOUT: Duration = Duration::from_secs(3);
/// An owner that takes longer to hand a slot over is asked again later.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// A member is told for at most so long; it finds out by itself, too.
const TELL_TIMEOUT: Duration = Duration::from_secs(1);
/// For a drain: slots that are on their way at once. Few, as those that travel together slow each
/// other down, and nobody serves any of them meanwhile.
const RELEASES_AT_ONCE: usize = 4;

/// What a keeper is built from.
pub struct KeeperParts {
    /// The logs.
    pub slots: Arc<dyn Slots>,
    /// This process.
    pub membership: Membership,
    /// The way to the others.
    pub hand_over: Arc<dyn HandOver>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Jitter.
    pub random: Arc<dyn Random>,
    /// Where it runs: must be asked to finish before the logs are.
    pub tasks: Tasks,
    /// How long a slot stays before it is given away for balance; see [`KeeperParts::STAY`].
    pub stay: Duration,
}

impl KeeperParts {
    /// How long a slot stays unless a test wants it shorter.
    pub const STAY: Duration = STAY;
}

/// The other end of [`HandOver`]. Clones are the same keeper.
#[derive(Clone)]
pub struct Keeper {
    commands: mpsc::Sender<Command>,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").finish_non_exhaustive()
    }
}

type Answer = oneshot::Sender<Result<(), HandOverError>>;

enum Command {
    HandOver {
        slot: Slot,
        successor: String,
        answer: Answer,
    },
    Handed(Vec<Slot>),
}

impl Keeper {
    /// Begins to keep slots, until the tasks are asked to finish: then it hands all of them on.
    pub fn start(parts: KeeperParts) -> Self {
        let (commands, received) = mpsc::channel(COMMANDS_LEN_MAX);
        let (stay, tasks) = (parts.membership.stay(), parts.tasks.clone());
        let run = Driver::new(parts).run(tasks.clone(), received, stay);
        tasks.spawn_critical("slot-keeper", run);
        Self { commands }
    }

    /// Gives a slot to another member, which asked for it; returns when the slot's row names it.
    pub async fn hand_over(&self, slot: Slot, successor: &str) -> Result<(), HandOverError> {
        let gone = || HandOverError::Unreachable {
            reason: "the process drains".to_owned(),
        };
        let (answer, answered) = oneshot::channel();
        let command = Command::HandOver {
            slot,
            successor: successor.to_owned(),
            answer,
        };
        self.commands.send(command).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Another member says that these slots' rows name this process now.
    pub async fn handed(&self, slots: Vec<Slot>) {
        // Whoever is gone takes nothing.
        let _ = self.commands.send(Command::Handed(slots)).await;
    }
}

/// What became of a step.
enum Done {
    Looked(Slot, Option<SlotOwner>),
    Taken(Slot, Result<(), OpenError>),
    Asked(Slot, Result<(), HandOverError>),
    Released(Slot, Option<Answer>),
}

struct Driver {
    slots: Arc<dyn Slots>,
    membership: Membership,
    hand_over: Arc<dyn HandOver>,
    clock: Arc<dyn Clock>,
    plan: Plan,
    running: FuturesUnordered<BoxFuture<'static, Done>>,
}

impl Driver {
    fn new(parts: KeeperParts) -> Self {
        let plan = Plan::new(
            parts.membership.id(),
            parts.slots.all(),
            parts.stay,
            parts.random,
            parts.clock.monotonic(),
        );
        Self {
            slots: parts.slots,
            membership: parts.membership,
            hand_over: parts.hand_over,
            clock: parts.clock,
            plan,
            running: FuturesUnordered::new(),
        }
    }

    async fn run(mut self, tasks: Tasks, mut commands: mpsc::Receiver<Command>, stay: Stay) {
        let mut view = self.membership.view();
        // Whoever was read before this began is seen, too, though nothing changes any more.
        view.mark_changed();
        let mut served = self.slots.served_changes();
        loop {
            let pause = self.advance();
            tokio::select! {
                biased;
                () = tasks.soft().cancelled() => break,
                Some(done) = self.running.next() => self.end(done),
                Some(command) = commands.recv() => self.command(command),
                Ok(()) = view.changed() => {
                    let now = self.clock.monotonic();
                    self.plan.members(view.borrow_and_update().clone(), now);
                }
                Ok(()) = served.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        drop(commands);
        self.drain().await;
        drop(stay);
    }

    /// Begins whatever is due; how long then to wait.
    fn advance(&mut self) -> Duration {
        let now = self.clock.monotonic();
        let served: BTreeSet<Slot> = self.slots.served().into_iter().collect();
        metrics::gauge!("hanse_cluster_slots_served").set(served.len() as u32);
        self.plan.served(&served, now);
        if self.membership.may_act(self.plan.view()) {
            self.plan.tick(now);
            for step in self.plan.due(now) {
                self.plan.begin(&step);
                let running = self.carry_out(step);
                self.running.push(running);
            }
        }
        let wake_at = self.plan.wake_at(now);
        wake_at.map_or(STAY, |at| at.saturating_sub(now))
    }

    fn carry_out(&self, step: Step) -> BoxFuture<'static, Done> {
        let slots = Arc::clone(&self.slots);
        match step {
            Step::Look(slot) => {
                Box::pin(async move { Done::Looked(slot, look(slots.as_ref(), slot).await) })
            }
            Step::Take(slot, row) => {
                Box::pin(async move { Done::Taken(slot, slots.serve(slot, &row).await) })
            }
            Step::Ask(slot, owner) => {
                let hand_over = Arc::clone(&self.hand_over);
                let me = self.membership.id().to_owned();
                Box::pin(async move {
                    Done::Asked(slot, ask(hand_over.as_ref(), &owner, slot, &me).await)
                })
            }
            Step::GiveUp(slot) => {
                tracing::warn!(slot = slot.0, "the slot's row names another");
                release(slots, slot, String::new(), None)
            }
        }
    }

    fn end(&mut self, done: Done) {
        let now = self.clock.monotonic();
        match done {
            Done::Looked(slot, row) => self.plan.looked(slot, row, now),
            Done::Taken(slot, taken) => {
                let label = match &taken {
                    Ok(()) => "served",
                    Err(OpenError::Contended { .. }) => "contended",
                    Err(_) => "failed",
                };
                metrics::counter!("hanse_cluster_takes_total", "outcome" => label).increment(1);
                match &taken {
                    Ok(()) => tracing::info!(slot = slot.0, "served here"),
                    Err(error) => tracing::warn!(slot = slot.0, %error, "the slot was not taken"),
                }
                self.plan.taken(slot, taken.is_ok(), now);
            }
            Done::Asked(slot, answer) => {
                let label = if answer.is_ok() { "moved" } else { "not_now" };
                metrics::counter!("hanse_cluster_asks_total", "outcome" => label).increment(1);
                self.plan.asked(slot, &answer, now);
            }
            Done::Released(slot, answer) => {
                // The successor may have waited for too long; it finds out by itself then.
                let _ = answer.map(|answer| answer.send(Ok(())));
                self.plan.released(slot, now);
            }
        }
    }

    fn command(&mut self, command: Command) {
        let now = self.clock.monotonic();
        match command {
            Command::Handed(slots) => self.plan.handed(&slots, now),
            Command::HandOver {
                slot,
                successor,
                answer,
            } => match self.plan.requested(slot, &successor, now) {
                Ok(()) => {
                    let slots = Arc::clone(&self.slots);
                    let release = release(slots, slot, successor, Some(answer));
                    self.running.push(release);
                }
                Err(not_now) => {
                    let _ = answer.send(Err(not_now));
                }
            },
        }
    }

    /// Hands every slot on, each to whoever it is assigned to without us. What is still being taken
    /// is given up once it is served; what others asked for is theirs already, or goes the same way.
    async fn drain(self) {
        self.membership.drain();
        let successors = self.plan.successors();
        drop(self.running);
        let (slots, hand_over) = (&self.slots, &self.hand_over);
        let view = self.plan.view();
        stream::iter(&successors)
            .for_each_concurrent(RELEASES_AT_ONCE, |(slot, id)| async move {
                slots.release(*slot, id).await;
                if let Some(successor) = view.live.get(id) {
                    tell(hand_over.as_ref(), successor, &[*slot]).await;
                }
            })
            .await;
        tracing::info!(slots = successors.len(), "all slots are handed on");
    }
}

async fn look(slots: &dyn Slots, slot: Slot) -> Option<SlotOwner> {
    match tokio::time::timeout(LOOK_TIMEOUT, slots.owner(slot)).await {
        Ok(Ok(row)) => Some(row),
        failed => {
            tracing::warn!(slot = slot.0, ?failed, "the slot's row could not be read");
            None
        }
    }
}

async fn ask(
    hand_over: &dyn HandOver,
    owner: &Member,
    slot: Slot,
    me: &str,
) -> Result<(), HandOverError> {
    let asked = tokio::time::timeout(ASK_TIMEOUT, hand_over.ask(owner, slot, me)).await;
    asked.unwrap_or_else(|_| {
        let reason = "time-out".to_owned();
        Err(HandOverError::Unreachable { reason })
    })
}

async fn tell(hand_over: &dyn HandOver, successor: &Member, slots: &[Slot]) {
    let told = tokio::time::timeout(TELL_TIMEOUT, hand_over.tell(successor, slots)).await;
    if told.is_err() {
        tracing::warn!(member = successor.id, "was not told of its slots in time");
    }
}

fn release(
    slots: Arc<dyn Slots>,
    slot: Slot,
    successor: String,
    answer: Option<Answer>,
) -> BoxFuture<'static, Done> {
    Box::pin(async move {
        slots.release(slot, &successor).await;
        Done::Released(slot, answer)
    })
}
