//! The store's conformance suite on the store in memory.
//!
//! Sabotage: let `put` ignore the stamps of what is there, or a range forget its end.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use async_trait::async_trait;
use hanse_store::{
    Store,
    conformance::{Subject, TABLES},
};
use hanse_store_memory::MemoryStore;

/// A store with a clock that moves when it is told to.
struct Memory {
    clock_ms: Arc<AtomicI64>,
    store: Arc<MemoryStore>,
}

#[async_trait]
impl Subject for Memory {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    fn prefix(&self) -> String {
        String::new()
    }

    fn now_ms(&self) -> i64 {
        self.clock_ms.load(Ordering::Relaxed)
    }

    async fn pass(&self, ms: u64) {
        self.clock_ms.fetch_add(ms as i64, Ordering::Relaxed);
    }

    /// It lives as long as it is held: as a cluster of nodes does for one of its clients.
    async fn reopen(&mut self) {}
}

async fn make_store() -> Memory {
    let clock_ms = Arc::new(AtomicI64::new(1_700_000_000_000));
    let clock = Arc::clone(&clock_ms);
    let store = MemoryStore::new(Arc::new(move || clock.load(Ordering::Relaxed)));
    store.create_tables(TABLES).await.unwrap();
    Memory { clock_ms, store }
}

hanse_store::store_conformance!(make_store);
