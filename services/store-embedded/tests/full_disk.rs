//! A full disk: [`StoreError::Full`], and the store stays readable and consistent.
//!
//! Needs to mount a small tmpfs; says so and passes where that is not permitted.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

use std::{path::Path, process::Command, sync::Arc};

use hanse_store::{
    Column, Consistency, Durability, Key, Kind, Mutation, StampedPut, Store, StoreError, Table,
};
use hanse_store_embedded::{EmbeddedStore, Options};
use tempfile::TempDir;

const MIB: u64 = 1024 * 1024;
const ROW_BYTES: usize = 100_000;

static ROWS: Table = Table {
    name: "rows",
    kind: Kind::Stamped,
    partition: &[Column::bigint("number")],
    clustering: &[],
    statics: &[],
    values: &[Column::blob("bytes")],
};

/// A file system of 32 MiB, 8 of which are taken by a file that can go.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=32m", "tmpfs"])
            .arg(directory.path())
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            println!("skipped: mounting a tmpfs is not permitted here");
            return None;
        }
        let disk = Self(directory);
        std::fs::write(disk.ballast(), vec![1; 8 * MIB as usize]).unwrap();
        Some(disk)
    }

    fn ballast(&self) -> std::path::PathBuf {
        self.0.path().join("ballast")
    }

    fn store(&self) -> std::path::PathBuf {
        self.0.path().join("store")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

async fn open(path: &Path, disk_reserve_bytes: u64) -> Arc<EmbeddedStore> {
    let options = Options {
        disk_reserve_bytes,
        ..Options::new(Arc::new(|| 0))
    };
    let store = EmbeddedStore::open(path, options).unwrap();
    store.create_tables(&[&ROWS]).await.unwrap();
    store
}

/// Bytes that do not compress, so that they fill the disk.
fn bytes(number: i64) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ number as u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()
    };
    (0..ROW_BYTES / 8).flat_map(|_| next()).collect()
}

async fn put(store: &EmbeddedStore, number: i64) -> Result<(), StoreError> {
    let put = StampedPut {
        table: &ROWS,
        key: Key::partition([number.into()]),
        values: vec![bytes(number).into()],
        stamp: 1,
        expires_at_ms: None,
    };
    store
        .apply(vec![Mutation::Put(put)], Durability::Synced)
        .await
}

/// Writes until the store refuses; returns how many rows it acknowledged, and its refusal.
async fn fill(store: &EmbeddedStore) -> (i64, StoreError) {
    for number in 0..1_000 {
        if let Err(error) = put(store, number).await {
            return (number, error);
        }
    }
    panic!("the disk did not fill up");
}

async fn assert_rows(store: &EmbeddedStore, numbers: std::ops::Range<i64>) {
    for number in numbers {
        let key = Key::partition([number.into()]);
        let row = store.get(&ROWS, &key, Consistency::Quorum).await.unwrap();
        let row = row.unwrap_or_else(|| panic!("row {number} was acknowledged"));
        assert_eq!(row.values, [bytes(number).into()]);
    }
}

/// Below the reserve writes are refused, and nothing else happens; with space they go on.
#[tokio::test]
async fn writes_stop_at_the_reserve_and_go_on_after() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let store = open(&disk.store(), 4 * MIB).await;
    let (written, refusal) = fill(&store).await;
    assert!(matches!(refusal, StoreError::Full), "{refusal:?}");
    assert!(matches!(put(&store, written).await, Err(StoreError::Full)));
    assert_rows(&store, 0..written).await;
    assert!(!store.is_poisoned());
    std::fs::remove_file(disk.ballast()).unwrap();
    for number in written..written + 20 {
        put(&store, number).await.unwrap();
    }
    drop(store);
    let store = open(&disk.store(), 0).await;
    assert_rows(&store, 0..written + 20).await;
}

/// Without a reserve the journal hits the end of the disk: no write is acknowledged any more, what was
/// acknowledged can be read, and is there when the store is opened again with space.
#[tokio::test]
async fn the_last_byte_of_the_disk_loses_nothing() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let store = open(&disk.store(), 0).await;
    let (written, refusal) = fill(&store).await;
    println!("after {written} rows: {refusal:?}");
    assert!(
        matches!(refusal, StoreError::Full | StoreError::Unknown { .. }),
        "{refusal:?}"
    );
    assert_rows(&store, 0..written).await;
    std::fs::remove_file(disk.ballast()).unwrap();
    let after = put(&store, written + 1).await;
    assert!(after.is_err(), "a poisoned store acknowledged a write");
    assert!(store.is_poisoned());
    assert_rows(&store, 0..written).await;
    drop(store);
    let store = open(&disk.store(), 0).await;
    assert_rows(&store, 0..written).await;
    put(&store, written).await.unwrap();
    assert_rows(&store, 0..written + 1).await;
}
