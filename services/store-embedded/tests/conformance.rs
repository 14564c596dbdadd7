//! The store's conformance suite on the embedded engine.

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
use hanse_store_embedded::{EmbeddedStore, Options};
use tempfile::TempDir;

/// A store in a directory of its own, with a clock that moves when it is told to.
struct Embedded {
    directory: TempDir,
    clock_ms: Arc<AtomicI64>,
    store: Option<Arc<EmbeddedStore>>,
}

impl Embedded {
    async fn open(&mut self) {
        let clock_ms = Arc::clone(&self.clock_ms);
        let options = Options::new(Arc::new(move || clock_ms.load(Ordering::Relaxed)));
        let store = EmbeddedStore::open(self.directory.path(), options).unwrap();
        store.create_tables(TABLES).await.unwrap();
        self.store = Some(store);
    }
}

#[async_trait]
impl Subject for Embedded {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone().unwrap()
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

    async fn reopen(&mut self) {
        self.store = None;
        self.open().await;
    }
}

async fn make_store() -> Embedded {
    let mut subject = Embedded {
        directory: tempfile::tempdir().unwrap(),
        clock_ms: Arc::new(AtomicI64::new(1_700_000_000_000)),
        store: None,
    };
    subject.open().await;
    subject
}

hanse_store::store_conformance!(make_store);
