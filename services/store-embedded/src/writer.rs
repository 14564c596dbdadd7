//! The writer thread: carries out what waits, group by group, and hands on what waits for the disk.

use std::sync::{Arc, atomic::Ordering, mpsc::SyncSender};

use fjall::PersistMode;
use hanse_store::{ConditionalBatch, Mutation, Outcome, StoreError};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::{
    Durability,
    disk::{self, Refusal},
    engine::Core,
};

/// Most requests that wait for the writer.
pub(crate) const QUEUE_LEN_MAX: usize = 8 * 1024;
/// Most KiB of requests that wait for the writer or for the disk.
pub(crate) const QUEUE_KIB_MAX: usize = 64 * 1024;
/// Most requests of one group.
const GROUP_LEN_MAX: usize = 1024;
/// The free space is looked at again after so many KiB.
const ROOM_CHECK_KIB: usize = 256;

/// A write that waits.
pub(crate) struct Request {
    /// What to do, and whom to tell.
    pub(crate) work: Work,
    /// The request's share of the queue's bytes, given back with the answer.
    pub(crate) share: OwnedSemaphorePermit,
}

/// What a request asks for.
pub(crate) enum Work {
    /// Unconditional writes.
    Apply {
        mutations: Vec<Mutation>,
        synced: bool,
        reply: Reply<()>,
    },
    /// A conditional batch.
    Conditional {
        batch: ConditionalBatch,
        reply: Reply<Outcome>,
    },
    /// Nothing but the fsync.
    Sync { reply: Reply<()> },
}

/// Where an answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// A request that was carried out, as far as memory goes.
struct Answer<T> {
    reply: Reply<T>,
    result: Result<T, StoreError>,
    /// The table to name if the outcome becomes unknown; `None` if nothing was written.
    written: Option<&'static str>,
    _share: OwnedSemaphorePermit,
}

/// The answers of a group that wait for the disk.
#[derive(Default)]
pub(crate) struct Owed {
    applied: Vec<Answer<()>>,
    decided: Vec<Answer<Outcome>>,
    /// The number of the last conditional batch among them.
    decision: u64,
}

/// The thread's state.
struct Writer {
    core: Arc<Core>,
    syncer: SyncSender<Owed>,
    unchecked_kib: usize,
    has_room: bool,
}

/// Runs until every sender of the queue is gone, and then until the queue is empty.
pub(crate) fn run(core: Arc<Core>, syncer: SyncSender<Owed>, mut queue: mpsc::Receiver<Request>) {
    let mut writer = Writer {
        core,
        syncer,
        unchecked_kib: ROOM_CHECK_KIB,
        has_room: true,
    };
    while let Some(first) = queue.blocking_recv() {
        writer.carry_out_group(first, &mut queue);
    }
}

impl Writer {
    fn carry_out_group(&mut self, first: Request, queue: &mut mpsc::Receiver<Request>) {
        let mut buffered = Vec::new();
        let mut owed = Owed::default();
        self.carry_out(first, &mut buffered, &mut owed);
        for _ in 1..GROUP_LEN_MAX {
            let Ok(next) = queue.try_recv() else { break };
            self.carry_out(next, &mut buffered, &mut owed);
        }
        let flushed = self.core.flush();
        send_all(buffered, flushed);
        self.hand_on(owed, flushed);
    }

    fn carry_out(&mut self, request: Request, buffered: &mut Vec<Answer<()>>, owed: &mut Owed) {
        let share = request.share;
        match request.work {
            Work::Apply {
                mutations,
                synced,
                reply,
            } => {
                let accepted = self.accept(share.num_permits());
                let list = if synced { &mut owed.applied } else { buffered };
                list.push(Answer {
                    reply,
                    result: accepted.and_then(|()| self.core.apply(&mutations)),
                    written: mutations.first().map(|mutation| mutation.table().name),
                    _share: share,
                });
            }
            Work::Conditional { batch, reply } => {
                let accepted = self.accept(share.num_permits());
                // Counted before it can be seen.
                owed.decision = self.core.decisions.fetch_add(1, Ordering::AcqRel) + 1;
                let result = accepted.and_then(|()| self.core.conditional(&batch));
                owed.decided.push(Answer {
                    reply,
                    written: matches!(result, Ok(Outcome::Applied)).then_some(batch.table.name),
                    result,
                    _share: share,
                });
            }
            Work::Sync { reply } => owed.applied.push(Answer {
                reply,
                result: Ok(()),
                written: None,
                _share: share,
            }),
        }
    }

    /// Whether a write of this size may begin.
    fn accept(&mut self, kib: usize) -> Result<(), StoreError> {
        self.unchecked_kib += kib;
        if self.unchecked_kib >= ROOM_CHECK_KIB || !self.has_room {
            let core = &self.core;
            self.has_room = disk::has_room(&core.path, core.options.disk_reserve_bytes);
            self.unchecked_kib = 0;
        }
        if !self.has_room {
            return Err(StoreError::Full);
        }
        if self.core.poisoned.load(Ordering::Acquire) {
            return Err(Refusal::Poisoned.into());
        }
        Ok(())
    }

    /// Gives the syncer what waits for the disk, and waits itself if too many groups do.
    fn hand_on(&self, owed: Owed, flushed: bool) {
        let fsync = self.core.options.durability == Durability::Fsync;
        if owed.applied.is_empty() && owed.decided.is_empty() {
            return;
        }
        if !flushed || !fsync {
            return owed.answer(&self.core, flushed);
        }
        if let Err(refused) = self.syncer.send(owed) {
            refused.0.answer(&self.core, false);
        }
    }
}

impl Owed {
    /// Answers, now that it is known whether the writes are as safe as they were asked to be.
    pub(crate) fn answer(self, core: &Core, safe: bool) {
        if safe {
            core.safe_decisions
                .fetch_max(self.decision, Ordering::AcqRel);
        }
        send_all(self.applied, safe);
        send_all(self.decided, safe);
    }
}

fn send_all<T>(answers: Vec<Answer<T>>, safe: bool) {
    for answer in answers {
        let result = match (answer.result, answer.written) {
            (Ok(_), Some(table)) if !safe => Err(StoreError::Unknown {
                table,
                source: Box::new(Refusal::Poisoned),
            }),
            // Even a refusal rests on writes that may be lost.
            (Ok(_), None) if !safe => Err(Refusal::Poisoned.into()),
            (result, _) => result,
        };
        // Nobody waits any more: the write stands all the same.
        let _ = answer.reply.send(result);
    }
}

impl Core {
    /// Hands the journal to the system, which keeps it if the process dies. Once this failed, it
    /// always fails.
    fn flush(&self) -> bool {
        if self.poisoned.load(Ordering::Acquire) {
            return false;
        }
        let flushed = self.db.persist(PersistMode::Buffer);
        flushed.map_err(|error| self.poison(&error)).is_ok()
    }

    /// Ends all writing: nothing that was not answered yet may be relied upon.
    pub(crate) fn poison(&self, error: &dyn std::error::Error) {
        self.poisoned.store(true, Ordering::Release);
        tracing::error!(
            error = error.to_string(),
            "a write to the journal failed: the store takes no more writes until it is opened again"
        );
    }
}
