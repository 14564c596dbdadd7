//! What can go wrong in a store.

/// The failure of a verb.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The outcome of a write is not known: it may have landed, or may land yet. The caller settles
    /// it by proposing the same write again (law 3 of the design).
    #[error("the outcome of a write to {table} is unknown")]
    Unknown {
        /// The table written to.
        table: &'static str,
        /// What the engine saw.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store cannot be reached or is overloaded; nothing was written. Worth a retry.
    #[error("the store is unavailable")]
    Unavailable {
        /// What the engine saw.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No space left: nothing was written, and nothing will be until there is space.
    #[error("the store is full")]
    Full,
    /// A key, row or batch is larger than the store's bound; nothing was written.
    #[error("{what} in table {table} has {bytes} bytes, at most {bytes_max} are allowed")]
    TooLarge {
        /// The table.
        table: &'static str,
        /// "key", "row" or "batch".
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// The call does not fit the table's description: a fault in our code, nothing was written.
    #[error("a call does not fit table {table}: {reason}")]
    Misuse {
        /// The table.
        table: &'static str,
        /// What does not fit.
        reason: String,
    },
    /// Stored bytes do not read back as the table's row.
    #[error("a row of table {table} is corrupt: {reason}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl StoreError {
    /// Whether the same call may succeed later without settling anything first.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}
