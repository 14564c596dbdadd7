//! A domain whose writes are one entry each.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hanse_cluster::{
    Command, Commands, Refusal, Routed, Router,
    travelling::{append_error, position},
};
use hanse_log::{AppendError, Position, SlotLogs};
use serde::{Deserialize, Serialize};

use crate::world::entry;

/// How long a slow note is thought about.
pub(crate) const SLOW: Duration = Duration::from_millis(400);

/// The ballast of a note that may be sent again.
pub(crate) const REPEATS: &str = "repeats";

/// Clones are the same.
#[derive(Clone)]
pub(crate) struct Notes {
    pub(crate) logs: SlotLogs,
    pub(crate) router: Router,
    /// How often a command was begun here.
    pub(crate) runs: Arc<AtomicUsize>,
}

/// Writes its key; with some bytes that only travel.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) ballast: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Noted {
    #[serde(with = "position")]
    pub(crate) position: Position,
}

#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub(crate) enum NoteError {
    #[error("{reason}")]
    Unfit { reason: String },
    #[error(transparent)]
    #[serde(with = "append_error")]
    Append(#[from] AppendError),
}

impl Refusal for NoteError {
    fn append(&self) -> Option<&AppendError> {
        match self {
            Self::Append(error) => Some(error),
            Self::Unfit { .. } => None,
        }
    }
}

impl Command<Notes> for Note {
    const NAME: &'static str = "test.note";
    type Done = Noted;
    type Refused = NoteError;

    fn key(&self) -> &str {
        &self.key
    }

    fn repeats_safely(&self) -> bool {
        self.ballast == REPEATS
    }

    async fn run(&self, notes: &Notes) -> Result<Noted, NoteError> {
        notes.runs.fetch_add(1, Ordering::SeqCst);
        if self.ballast == "unfit" {
            let reason = format!("{} is unfit", self.key);
            return Err(NoteError::Unfit { reason });
        }
        if self.ballast == "slow" {
            tokio::time::sleep(SLOW).await;
        }
        let slot = notes.logs.slot_of(&self.key);
        let ticket = notes.logs.submit(slot, None, vec![entry(&self.key)])?;
        let position = ticket.applied().await?;
        Ok(Noted { position })
    }
}

impl Notes {
    pub(crate) fn new(logs: &SlotLogs, router: Router) -> Self {
        Self {
            logs: logs.clone(),
            router,
            runs: Arc::default(),
        }
    }

    pub(crate) fn commands(&self) -> Commands {
        let mut commands = Commands::new();
        commands.add::<_, Note>(self);
        commands
    }

    pub(crate) async fn note(&self, key: &str) -> Routed<Result<Noted, NoteError>> {
        self.note_with(key, "").await
    }

    pub(crate) async fn note_with(
        &self,
        key: &str,
        ballast: &str,
    ) -> Routed<Result<Noted, NoteError>> {
        let (key, ballast) = (key.to_owned(), ballast.to_owned());
        self.router.run(self, &Note { key, ballast }).await
    }

    pub(crate) fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }
}
