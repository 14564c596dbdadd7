//! What a domain has done at the process that serves a slot.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    marker::PhantomData,
    sync::Arc,
};

use async_trait::async_trait;
use hanse_log::{AppendError, Slot, SlotMap};
use serde::{Serialize, de::DeserializeOwned};

/// A write that is decided where its key's slot is served. It travels as JSON: fields that are added
/// later have defaults, and none is reused.
///
/// A command may be run again after it was refused with [`AppendError::decides_anew`]: what it wrote
/// before that, it writes again, or finds.
pub trait Command<D>: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Its name on the wire; never another's.
    const NAME: &'static str;
    /// What it gives.
    type Done: Serialize + DeserializeOwned + Send;
    /// Why it was refused.
    type Refused: Refusal;

    /// The key whose slot decides.
    fn key(&self) -> &str;

    /// Whether a repeat is told from the first, or does nothing more: then the command is sent again
    /// when it is not known what came of it.
    fn repeats_safely(&self) -> bool {
        false
    }

    /// Decides, writes, and waits until that is applied. Only where the slot is served.
    fn run(&self, domain: &D) -> impl Future<Output = Result<Self::Done, Self::Refused>> + Send;
}

/// The error of a command.
pub trait Refusal: Serialize + DeserializeOwned + From<AppendError> + Send {
    /// What the log said, if it was the log that refused.
    fn append(&self) -> Option<&AppendError>;

    /// Whether the command may be run again, here or at whoever serves the slot by now.
    fn decides_anew(&self) -> bool {
        self.append().is_some_and(AppendError::decides_anew)
    }
}

/// The commands that a process runs for the others, by name.
#[derive(Clone, Default)]
pub struct Commands {
    by_name: BTreeMap<&'static str, Arc<dyn AnyCommand>>,
}

impl fmt::Debug for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

impl Commands {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a command of a domain.
    ///
    /// # Panics
    ///
    /// If another has its name.
    pub fn add<D, C>(&mut self, domain: &D)
    where
        D: Clone + Send + Sync + 'static,
        C: Command<D>,
    {
        let of = Of::<D, C> {
            domain: domain.clone(),
            command: PhantomData,
        };
        match self.by_name.entry(C::NAME) {
            Entry::Vacant(free) => free.insert(Arc::new(of)),
            Entry::Occupied(taken) => unreachable!("two commands named {}", taken.key()),
        };
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<dyn AnyCommand>> {
        self.by_name.get(name)
    }
}

/// How a command that came from another process ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Done(Vec<u8>),
    Refused(Vec<u8>),
    /// To be decided anew, wherever the slot is served.
    NotServed,
}

/// Why nothing was begun, or what came of it cannot be said.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotRun {
    #[error("not a command of this name: {0}")]
    Malformed(#[source] serde_json::Error),
    #[error("the command belongs to slot {slot}")]
    OtherSlot { slot: Slot },
    #[error("what came of the command cannot be said: {0}")]
    Unspeakable(#[source] serde_json::Error),
}

/// A command, whatever its types.
#[async_trait]
pub(crate) trait AnyCommand: Send + Sync + 'static {
    async fn run(&self, slot: Slot, map: &SlotMap, body: &[u8]) -> Result<Ended, NotRun>;
}

struct Of<D, C> {
    domain: D,
    command: PhantomData<fn() -> C>,
}

#[async_trait]
impl<D, C> AnyCommand for Of<D, C>
where
    D: Clone + Send + Sync + 'static,
    C: Command<D>,
{
    async fn run(&self, slot: Slot, map: &SlotMap, body: &[u8]) -> Result<Ended, NotRun> {
        let command: C = serde_json::from_slice(body).map_err(NotRun::Malformed)?;
        let own = map.slot_of(command.key());
        if own != slot {
            return Err(NotRun::OtherSlot { slot: own });
        }
        match command.run(&self.domain).await {
            Ok(done) => said(&done).map(Ended::Done),
            Err(refused) if refused.decides_anew() => Ok(Ended::NotServed),
            Err(refused) => said(&refused).map(Ended::Refused),
        }
    }
}

fn said(said: &impl Serialize) -> Result<Vec<u8>, NotRun> {
    serde_json::to_vec(said).map_err(NotRun::Unspeakable)
}
