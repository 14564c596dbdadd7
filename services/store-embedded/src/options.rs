//! How a store is opened.

use std::sync::Arc;

/// Tells the time in Unix milliseconds.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What a synced write waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// For the disk: one fsync for each group of writes.
    #[default]
    Fsync,
    /// For the operating system's page cache only: what was answered survives the death of the
    /// process, but the last seconds are lost with the machine.
    Os,
}

/// Settings of an embedded store.
#[derive(Clone)]
pub struct Options {
    /// What a synced write waits for.
    pub durability: Durability,
    /// The time by which rows expire.
    pub clock: Clock,
    /// Free bytes on the disk below which writes are refused with [`hanse_store::StoreError::Full`].
    /// The engine's background work needs room beyond what is being written; running the disk down
    /// to the last byte would poison the store.
    pub disk_reserve_bytes: u64,
    /// Bytes of the cache of blocks read from disk.
    pub cache_bytes: u64,
}

impl Options {
    /// The default reserve of free disk space.
    pub const DISK_RESERVE_BYTES: u64 = 256 * 1024 * 1024;
    /// The default size of the block cache.
    pub const CACHE_BYTES: u64 = 128 * 1024 * 1024;

    /// Fsync, and the defaults.
    pub fn new(clock: Clock) -> Self {
        Self {
            durability: Durability::Fsync,
            clock,
            disk_reserve_bytes: Self::DISK_RESERVE_BYTES,
            cache_bytes: Self::CACHE_BYTES,
        }
    }
}

/// The store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process (or another store of this one) has it open.
    #[error("another process uses the data directory")]
    Locked,
    /// The engine refused: wrong version, unreadable files, no space.
    #[error("the engine could not open the data directory")]
    Engine(#[source] fjall::Error),
    /// The engine's journal is not where it should be.
    #[error("the engine's journal cannot be opened")]
    Journal(#[source] std::io::Error),
    /// A thread could not be started.
    #[error("a thread could not be started")]
    Thread(#[source] std::io::Error),
}

impl From<fjall::Error> for OpenError {
    fn from(error: fjall::Error) -> Self {
        match error {
            fjall::Error::Locked => Self::Locked,
            other => Self::Engine(other),
        }
    }
}
