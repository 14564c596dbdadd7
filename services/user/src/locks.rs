//! One decision at a time for each key.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use tokio::sync::{Mutex, OwnedMutexGuard};

/// Locks in a lock table. Two keys that share one only wait for each other.
const STRIPES: usize = 4_096;

/// A bounded table of locks, by key. Nobody may hold two keys of one table: they may share a lock.
pub(crate) struct KeyLocks {
    stripes: Box<[Arc<Mutex<()>>]>,
    hasher: RandomState,
}

impl KeyLocks {
    pub(crate) fn new() -> Self {
        Self {
            stripes: (0..STRIPES).map(|_| Arc::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Waits for the key's turn; fair.
    pub(crate) async fn lock(&self, key: &str) -> OwnedMutexGuard<()> {
        let at = self.hasher.hash_one(key) as usize % STRIPES;
        let stripe = self.stripes.get(at).map_or_else(Arc::default, Arc::clone);
        stripe.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_key_waits_for_itself() {
        let locks = KeyLocks::new();
        let held = locks.lock("a").await;
        let again = tokio::time::timeout(Duration::from_millis(5), locks.lock("a")).await;
        assert!(again.is_err());
        drop(held);
        locks.lock("a").await;
    }
}
