//! What the syncer relies on: everything that was acknowledged is in the newest `<number>.jnl`, or in
//! one before it. A new version of the engine that keeps its journal elsewhere fails here.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::{path::Path, sync::Arc};

use hanse_store::{Column, Durability, Key, Kind, Mutation, StampedPut, Store, Table, Value};
use hanse_store_embedded::{EmbeddedStore, Options};

static ROWS: Table = Table {
    name: "rows",
    kind: Kind::Stamped,
    partition: &[Column::text("name")],
    clustering: &[],
    statics: &[],
    values: &[Column::blob("bytes")],
};

async fn put(store: &EmbeddedStore, name: &str, bytes: Vec<u8>) {
    let put = StampedPut {
        table: &ROWS,
        key: Key::partition([name.into()]),
        values: vec![Value::from(bytes)],
        stamp: 1,
        expires_at_ms: None,
    };
    store
        .apply(vec![Mutation::Put(put)], Durability::Synced)
        .await
        .unwrap();
}

/// The newest journal's number, and whether it holds the bytes.
fn newest(directory: &Path, needle: &[u8]) -> (u64, bool) {
    let files = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    let names = files.map(|file| file.file_name().into_string().unwrap());
    let numbers = names.filter_map(|name| name.strip_suffix(".jnl")?.parse::<u64>().ok());
    let number = numbers.max().unwrap();
    let bytes = std::fs::read(directory.join(format!("{number}.jnl"))).unwrap();
    // Most of the file is a hole.
    let blocks = bytes
        .chunks(4096)
        .take_while(|block| **block != [0; 4096][..block.len()]);
    let written = blocks.map(<[u8]>::len).sum();
    let found = bytes[..written]
        .windows(needle.len())
        .any(|window| window == needle);
    (number, found)
}

fn noise(mut state: u64) -> Vec<u8> {
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()
    };
    (0..120_000).flat_map(|_| next()).collect()
}

#[tokio::test]
async fn acknowledged_writes_are_in_the_newest_journal() {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(directory.path(), Options::new(Arc::new(|| 0))).unwrap();
    store.create_tables(&[&ROWS]).await.unwrap();
    put(&store, "one", b"the first marker".to_vec()).await;
    let (first, found) = newest(directory.path(), b"the first marker");
    assert!(found, "not in journal {first}");
    // Enough for the engine to begin another journal.
    for number in 1..200 {
        put(&store, &format!("noise {number}"), noise(number)).await;
        if directory.path().join(format!("{}.jnl", first + 1)).exists() {
            break;
        }
    }
    put(&store, "two", b"the second marker".to_vec()).await;
    let (last, found) = newest(directory.path(), b"the second marker");
    assert!(found, "not in journal {last}");
    assert_eq!(last, first + 1, "journals are numbered one after the other");
}
