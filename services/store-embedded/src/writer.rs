//! The writer thread: groups what waits, applies it, syncs once, answers.

use std::sync::{Arc, atomic::Ordering};

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
/// Most bytes of requests that wait for the writer, in KiB.
pub(crate) const QUEUE_KIB_MAX: usize = 64 * 1024;
/// Most requests that share one fsync.
const GROUP_LEN_MAX: usize = 1024;

/// A write that waits.
pub(crate) struct Request {
    /// What to do, and whom to tell.
    pub(crate) work: Work,
    /// The request's share of the queue's bytes, given back with the answer.
    pub(crate) room: OwnedSemaphorePermit,
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
}

/// What one group still owes.
#[derive(Default)]
struct Owed {
    buffered: Vec<Answer<()>>,
    synced: Vec<Answer<()>>,
    decided: Vec<Answer<Outcome>>,
    rooms: Vec<OwnedSemaphorePermit>,
}

/// Runs until every sender of the queue is gone, and then until the queue is empty.
pub(crate) fn run(core: &Arc<Core>, mut queue: mpsc::Receiver<Request>) {
    while let Some(first) = queue.blocking_recv() {
        let mut owed = Owed::default();
        owed.carry_out(core, first);
        for _ in 1..GROUP_LEN_MAX {
            let Ok(next) = queue.try_recv() else { break };
            owed.carry_out(core, next);
        }
        owed.settle(core);
    }
}

impl Owed {
    fn carry_out(&mut self, core: &Core, request: Request) {
        self.rooms.push(request.room);
        match request.work {
            Work::Apply {
                mutations,
                synced,
                reply,
            } => {
                let answer = Answer {
                    result: core.accepts_writes().and_then(|()| core.apply(&mutations)),
                    written: mutations.first().map(|mutation| mutation.table().name),
                    reply,
                };
                let list = if synced {
                    &mut self.synced
                } else {
                    &mut self.buffered
                };
                list.push(answer);
            }
            Work::Conditional { batch, reply } => {
                core.unsynced.store(true, Ordering::Release);
                let result = core
                    .accepts_writes()
                    .and_then(|()| core.conditional(&batch));
                let written = matches!(result, Ok(Outcome::Applied)).then_some(batch.table.name);
                self.decided.push(Answer {
                    reply,
                    result,
                    written,
                });
            }
            Work::Sync { reply } => self.synced.push(Answer {
                reply,
                result: Ok(()),
                written: None,
            }),
        }
    }

    /// Hands the journal to the system, answers who need no more, syncs, answers the rest.
    fn settle(self, core: &Core) {
        let flushed = core.persist(PersistMode::Buffer);
        send_all(self.buffered, flushed);
        let mut persisted = flushed;
        let waits = !self.synced.is_empty() || !self.decided.is_empty();
        if persisted && waits && core.options.durability == Durability::Fsync {
            persisted = core.persist(PersistMode::SyncData);
        }
        if persisted && waits {
            core.unsynced.store(false, Ordering::Release);
        }
        send_all(self.synced, persisted);
        send_all(self.decided, persisted);
    }
}

fn send_all<T>(answers: Vec<Answer<T>>, persisted: bool) {
    for answer in answers {
        let result = match (answer.result, answer.written) {
            (Ok(_), Some(table)) if !persisted => Err(StoreError::Unknown {
                table,
                source: Box::new(Refusal::Poisoned),
            }),
            // Even a refusal rests on writes that may be lost.
            (Ok(_), None) if !persisted => Err(Refusal::Poisoned.into()),
            (result, _) => result,
        };
        // Nobody waits any more: the write stands all the same.
        let _ = answer.reply.send(result);
    }
}

impl Core {
    /// Whether a write may begin.
    fn accepts_writes(&self) -> Result<(), StoreError> {
        if !disk::has_room(&self.path, self.options.disk_reserve_bytes) {
            return Err(StoreError::Full);
        }
        if self.poisoned.load(Ordering::Acquire) {
            return Err(Refusal::Poisoned.into());
        }
        Ok(())
    }

    /// Hands the journal to the system or to the disk. Once this failed, it always fails.
    fn persist(&self, mode: PersistMode) -> bool {
        if self.poisoned.load(Ordering::Acquire) {
            return false;
        }
        let Err(error) = self.db.persist(mode) else {
            return true;
        };
        self.poisoned.store(true, Ordering::Release);
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "a write to the journal failed: the store takes no more writes until it is opened again"
        );
        false
    }
}
