//! The disk: free space, and what the engine's errors mean for a caller.

use std::{
    io::{self, ErrorKind},
    path::Path,
};

use hanse_store::StoreError;
use nix::sys::statvfs::statvfs;

/// Why the store takes no write.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// Too many or too large writes wait.
    #[error("too many writes wait")]
    QueueFull,
    /// The store is being closed.
    #[error("the store is closed")]
    Closed,
    /// A write to the journal failed before.
    #[error("a write to the journal failed; the store takes writes again when it is opened again")]
    Poisoned,
}

impl From<Refusal> for StoreError {
    fn from(refusal: Refusal) -> Self {
        Self::Unavailable {
            source: Box::new(refusal),
        }
    }
}

/// Whether at least so many bytes are free for us. If the system does not tell, the write decides.
pub(crate) fn has_room(path: &Path, reserve_bytes: u64) -> bool {
    reserve_bytes == 0
        || statvfs(path).map_or(true, |disk| {
            disk.blocks_available() * disk.fragment_size() >= reserve_bytes
        })
}

/// A write that was refused as a whole: nothing of it is in the journal or in memory.
pub(crate) fn write_failed(error: fjall::Error) -> StoreError {
    match &error {
        fjall::Error::Poisoned => Refusal::Poisoned.into(),
        other if io_error(other).is_some_and(is_no_space) => StoreError::Full,
        _ => StoreError::Unavailable {
            source: Box::new(error),
        },
    }
}

/// A read that failed.
pub(crate) fn read_failed(error: &fjall::Error) -> StoreError {
    // `fjall::Error` is not `Clone`, and the engine's text says it all.
    StoreError::Unavailable {
        source: error.to_string().into(),
    }
}

fn io_error(error: &fjall::Error) -> Option<&io::Error> {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => Some(error),
        _ => None,
    }
}

fn is_no_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    )
}
