//! `kill -9` while writing: whatever was acknowledged is there, buffered writes included.
//!
//! Sabotage that this finds: answering before the journal is handed over in `Owed::settle`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use hanse_store::{
    Column, ConditionalBatch, ConditionalStep, Consistency, Durability, Key, Kind, Mutation,
    Outcome, StampedPut, Store, Table, Value,
};
use hanse_store_embedded::{EmbeddedStore, Options};

const ROUNDS: usize = 20;
const DIRECTORY: &str = "HANSE_CRASH_TEST_DIRECTORY";

static LOG: Table = Table {
    name: "log",
    kind: Kind::Cas,
    partition: &[Column::bigint("slot")],
    clustering: &[Column::bigint("seq")],
    statics: &[Column::bigint("next_seq")],
    values: &[Column::blob("body")],
};

static ROWS: Table = Table {
    name: "rows",
    kind: Kind::Stamped,
    partition: &[Column::text("writer")],
    clustering: &[Column::bigint("number")],
    statics: &[],
    values: &[Column::text("words")],
};

async fn open(path: &Path) -> Arc<EmbeddedStore> {
    let store = EmbeddedStore::open(path, Options::new(Arc::new(|| 0))).unwrap();
    store.create_tables(&[&LOG, &ROWS]).await.unwrap();
    store
}

fn body(seq: i64) -> Value {
    Value::from(vec![seq as u8; 700])
}

async fn next_seq(store: &EmbeddedStore) -> i64 {
    let key = Key::partition([0.into()]);
    let head = store.get(&LOG, &key, Consistency::Serial).await.unwrap();
    head.map_or(0, |row| row.statics[0].as_i64().unwrap())
}

async fn append(store: &EmbeddedStore, seq: i64) {
    let present = if seq == 0 { Value::Null } else { seq.into() };
    let batch = ConditionalBatch {
        table: &LOG,
        partition: vec![0.into()],
        steps: vec![
            ConditionalStep::UpdateStatics {
                set: vec![("next_seq", (seq + 1).into())],
                conditions: vec![("next_seq", present)],
            },
            ConditionalStep::Insert {
                clustering: vec![seq.into()],
                set: vec![("body", body(seq))],
            },
        ],
    };
    assert_eq!(store.conditional(batch).await.unwrap(), Outcome::Applied);
}

fn row_key(writer: &str, number: i64) -> Key {
    Key::new([writer.into()], [number.into()])
}

async fn put(store: &EmbeddedStore, writer: &str, number: i64, durability: Durability) {
    let put = |number| {
        Mutation::Put(StampedPut {
            table: &ROWS,
            key: row_key(writer, number),
            values: vec!["words".repeat(50).into()],
            stamp: number,
            expires_at_ms: None,
        })
    };
    store
        .apply(vec![put(number), put(-number)], durability)
        .await
        .unwrap();
}

/// The process that is killed. Tells each acknowledgement in a line of its own.
#[test]
#[ignore = "started by the test beside it"]
fn child_writes_until_killed() {
    let Some(path) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = open(Path::new(&path)).await;
        let begin = next_seq(&store).await;
        println!();
        let appends = async {
            for seq in begin.. {
                append(&store, seq).await;
                println!("ack log {seq}");
            }
        };
        let rows = async |writer: &str, durability| {
            // Every round starts above the last one's numbers.
            for number in begin * 1_000.. {
                put(&store, writer, number, durability).await;
                println!("ack {writer} {number}");
                // Leaves the journal unsynced now and then, and the others a turn.
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(
            appends,
            rows("synced", Durability::Synced),
            rows("buffered", Durability::Buffered),
        );
    });
}

/// Starts the child, kills it after so many acknowledgements, and returns all that it told.
fn write_and_kill(path: &Path, acknowledgements: usize) -> Vec<(String, i64)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "child_writes_until_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(DIRECTORY, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(child.stdout.take().unwrap());
    let mut acknowledged = Vec::new();
    let mut line = String::new();
    // A line that was cut off has no end, and acknowledges nothing.
    while told.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
        if let Some(rest) = line.strip_prefix("ack ") {
            let (writer, number) = rest.trim().split_once(' ').unwrap();
            acknowledged.push((writer.to_owned(), number.parse().unwrap()));
        }
        if acknowledged.len() == acknowledgements {
            child.kill().unwrap();
        }
        line.clear();
    }
    let status = child.wait().unwrap();
    assert!(!status.success(), "the child ended by itself");
    acknowledged
}

async fn assert_all_there(store: &EmbeddedStore, acknowledged: &[(String, i64)]) {
    for (writer, number) in acknowledged {
        let (table, keys) = match writer.as_str() {
            "log" => (&LOG, vec![Key::new([0.into()], [(*number).into()])]),
            _ => (
                &ROWS,
                vec![row_key(writer, *number), row_key(writer, -number)],
            ),
        };
        for key in keys {
            let row = store.get(table, &key, Consistency::Quorum).await.unwrap();
            let row = row.unwrap_or_else(|| panic!("{writer} {number} was acknowledged"));
            if writer == "log" {
                assert_eq!(row.values, [body(*number)]);
            }
        }
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let told = write_and_kill(directory.path(), 20 + round * 37 % 150);
        runtime.block_on(async {
            let store = open(directory.path()).await;
            assert_all_there(&store, &told).await;
            acknowledged.extend(told);
            if round + 1 == ROUNDS {
                assert_all_there(&store, &acknowledged).await;
            }
            // The head and the rows under it went together.
            let next = next_seq(&store).await;
            for (seq, there) in [(next - 1, true), (next, false)] {
                let key = Key::new([0.into()], [seq.into()]);
                let row = store.get(&LOG, &key, Consistency::Serial).await.unwrap();
                assert_eq!(
                    row.is_some(),
                    there,
                    "round {round}: row {seq} under head {next}"
                );
            }
        });
    }
    let logs = acknowledged
        .iter()
        .filter(|(writer, _)| writer == "log")
        .count();
    assert!(logs >= ROUNDS, "only {logs} appends in {ROUNDS} rounds");
}
