//! A store in a directory of its own, logs over it, and what the tables hold.

use std::{sync::Arc, time::Duration};

use hanse_log::{
    AppendError, Applier, LogParts, OpenError, Position, Rows, Slot, SlotLogs, SlotMap,
    tables::{CURSORS, LOG, RELAYED, SLOTS},
};
use hanse_proto::{
    log::{Batch, Entry, Relay, RelaySource, entry::Kind as EntryKind},
    user::UserEntry,
};
use hanse_runtime::{Clock, ManualClock, Random, SeededRandom, Tasks};
use hanse_store::{
    Column, Consistency, Direction, Key, Kind, Range, Row, Scan, Store, Table, Value,
};
use hanse_store_embedded::{Durability, EmbeddedStore, Options};
use prost::Message;
use tempfile::TempDir;

use crate::faults::FaultyStore;

pub(crate) const S0: Slot = Slot(0);
pub(crate) const S1: Slot = Slot(1);
/// Longest wait for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Where each key was written: one row for each entry.
pub(crate) static POINTS: Table = Table {
    name: "points",
    kind: Kind::Stamped,
    partition: &[Column::text("name")],
    clustering: &[Column::bigint("position")],
    statics: &[],
    values: &[Column::bigint("source")],
};

/// Where each key was written last: the stamps decide.
pub(crate) static LAST: Table = Table {
    name: "last",
    kind: Kind::Stamped,
    partition: &[Column::text("name")],
    clustering: &[],
    statics: &[],
    values: &[Column::bigint("position")],
};

struct Recorder;

impl Applier for Recorder {
    fn rows(&self, entry: &Entry, position: Position, rows: &mut Rows) {
        let Some(EntryKind::User(user)) = &entry.kind else {
            return;
        };
        let name = vec![Value::from(user.user_id.as_str())];
        let at = Value::from(position.packed());
        let source = entry.relay_source.as_ref();
        let source = source.map_or(Value::Null, |source| source.position.into());
        let key = Key::new(name.clone(), vec![at.clone()]);
        rows.put(&POINTS, key, vec![source]);
        rows.put(&LAST, Key::partition(name), vec![at]);
    }

    fn tables(&self) -> Vec<&'static Table> {
        vec![&POINTS, &LAST]
    }
}

/// An entry of the test's own.
pub(crate) fn entry(key: impl Into<String>) -> Entry {
    let user = UserEntry {
        user_id: key.into(),
        kind: None,
    };
    Entry {
        kind: Some(EntryKind::User(user)),
        ..Entry::default()
    }
}

/// An entry that takes some space.
pub(crate) fn large_entry(key: impl Into<String>, bytes: usize) -> Entry {
    Entry {
        trace_parent: "x".repeat(bytes),
        ..entry(key)
    }
}

pub(crate) fn relaying(key: &str, targets: &[&str]) -> Entry {
    let relay = |target: &&str| Relay {
        key: (*target).to_owned(),
        entry: Some(entry(format!("{target}<-{key}"))),
    };
    Entry {
        relays: targets.iter().map(relay).collect(),
        ..entry(key)
    }
}

pub(crate) fn key_of(entry: &Entry) -> String {
    match &entry.kind {
        Some(EntryKind::User(user)) => user.user_id.clone(),
        other => panic!("not an entry of ours: {other:?}"),
    }
}

/// A batch as it stands in the log.
#[derive(Clone, Debug)]
pub(crate) struct Logged {
    pub(crate) segment: i64,
    pub(crate) seq: i64,
    pub(crate) stamp_start: i64,
    pub(crate) bytes: usize,
    pub(crate) keys: Vec<String>,
    pub(crate) sources: Vec<Option<RelaySource>>,
}

pub(crate) struct World {
    _dir: TempDir,
    pub(crate) embedded: Arc<EmbeddedStore>,
    pub(crate) faults: Arc<FaultyStore>,
    pub(crate) clock: ManualClock,
    pub(crate) random: SeededRandom,
    /// The durable consumers that there will be.
    pub(crate) expected: Vec<&'static str>,
}

/// The logs of one process.
pub(crate) struct Process {
    pub(crate) logs: SlotLogs,
    pub(crate) tasks: Tasks,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let clock = ManualClock::at_ms(1_700_000_000_000);
        let mut options = Options::new(Arc::new({
            let clock = clock.clone();
            move || clock.now_ms()
        }));
        options.durability = Durability::Os;
        options.cache_bytes = 4 * 1024 * 1024;
        let embedded = EmbeddedStore::open(dir.path(), options).unwrap();
        Self {
            faults: FaultyStore::over(Arc::clone(&embedded)),
            embedded,
            _dir: dir,
            clock,
            random: SeededRandom::new(7),
            expected: Vec::new(),
        }
    }

    pub(crate) fn parts(&self, store: Arc<dyn Store>, tasks: &Tasks) -> LogParts {
        LogParts {
            store,
            applier: Arc::new(Recorder),
            clock: Arc::new(self.clock.clone()),
            random: Arc::new(self.random.clone()),
            tasks: tasks.clone(),
            map: SlotMap::initial(2),
            owner: self.random.alphanumeric(8),
            segment_bytes_max: LogParts::SEGMENT_BYTES_MAX,
            consumers: self.expected.clone(),
            cluster: None,
        }
    }

    pub(crate) async fn try_open(&self, store: &Arc<FaultyStore>) -> Result<Process, OpenError> {
        let tasks = Tasks::new();
        let logs = SlotLogs::open(self.parts(Arc::clone(store) as _, &tasks)).await?;
        Ok(Process { logs, tasks })
    }

    /// A process that serves nothing yet.
    pub(crate) async fn start_on(&self, store: &Arc<FaultyStore>) -> Process {
        let tasks = Tasks::new();
        let parts = self.parts(Arc::clone(store) as _, &tasks);
        let logs = SlotLogs::start(parts).await.unwrap();
        Process { logs, tasks }
    }

    /// The same, over the store with faults.
    pub(crate) async fn start(&self) -> Process {
        self.start_on(&self.faults).await
    }

    /// A process over the store with faults.
    pub(crate) async fn open(&self) -> Process {
        self.try_open(&self.faults).await.unwrap()
    }

    /// The same, with small segments.
    pub(crate) async fn open_small(&self, segment_bytes_max: usize) -> Process {
        let tasks = Tasks::new();
        let parts = LogParts {
            segment_bytes_max,
            ..self.parts(Arc::clone(&self.faults) as _, &tasks)
        };
        let logs = SlotLogs::open(parts).await.unwrap();
        Process { logs, tasks }
    }

    async fn scan(&self, table: &'static Table, partition: Vec<Value>) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        loop {
            let after = rows.last().map(|row| row.clustering.clone());
            let scan = Scan {
                table,
                partition: partition.clone(),
                range: after.map_or(Range::all(), Range::after),
                direction: Direction::Forward,
                limit: Scan::LIMIT_MAX,
            };
            let page = self.embedded.scan(scan).await.unwrap();
            rows.extend(page.rows);
            if !page.more {
                return rows;
            }
        }
    }

    /// The positions at which a key is in the archives.
    pub(crate) async fn points(&self, key: &str) -> Vec<i64> {
        let rows = self.scan(&POINTS, vec![key.into()]).await;
        rows.iter()
            .map(|row| row.clustering[0].as_i64().unwrap())
            .collect()
    }

    /// A segment's `epoch, next, stamp_end, sealed`.
    pub(crate) async fn head(&self, slot: Slot, segment: i64) -> Option<[Option<i64>; 4]> {
        let key = Key::partition(vec![i64::from(slot.0).into(), segment.into()]);
        let row = self.embedded.get(&LOG, &key, Consistency::Serial).await;
        let row = row.unwrap()?;
        row.statics[0].as_i64()?;
        Some([0, 1, 2, 4].map(|column| row.statics[column].as_i64()))
    }

    /// The first segment of a slot that was not trimmed.
    pub(crate) async fn trimmed(&self, slot: Slot) -> i64 {
        let key = Key::partition(vec![i64::from(slot.0).into()]);
        let row = self.embedded.get(&SLOTS, &key, Consistency::Serial).await;
        row.unwrap()
            .map_or(0, |row| row.values[6].as_i64().unwrap_or(0))
    }

    /// A slot's checkpoint.
    pub(crate) async fn checkpoint(&self, slot: Slot) -> i64 {
        let key = Key::partition(vec![i64::from(slot.0).into()]);
        let row = self.embedded.get(&SLOTS, &key, Consistency::Serial).await;
        row.unwrap().unwrap().values[3].as_i64().unwrap()
    }

    /// A consumer's cursor, packed.
    pub(crate) async fn cursor(&self, slot: Slot, consumer: &str) -> Option<i64> {
        let key = Key::new(vec![i64::from(slot.0).into()], vec![consumer.into()]);
        let row = self.embedded.get(&CURSORS, &key, Consistency::Serial).await;
        row.unwrap()?.values[1].as_i64()
    }

    /// The slot's log. Fails unless it is dense, with one batch per position, in segments whose
    /// epochs never go down, and stamps that always go up.
    pub(crate) async fn log(&self, slot: Slot) -> Vec<Logged> {
        let mut log: Vec<Logged> = Vec::new();
        let (mut segment, mut epoch) = (self.trimmed(slot).await, 0);
        while let Some(head) = self.head(slot, segment).await {
            assert!(head[0].unwrap() >= epoch, "epochs never go down: {head:?}");
            epoch = head[0].unwrap();
            let partition = vec![i64::from(slot.0).into(), segment.into()];
            let rows = self.scan(&LOG, partition).await;
            let batches = rows.iter().filter(|row| !row.clustering.is_empty());
            log.extend(batches.map(|row| logged(segment, row)));
            segment += 1;
        }
        let first = log
            .first()
            .map_or(1, |first| if first.segment == 0 { 1 } else { first.seq });
        for (expected, batch) in (first..).zip(&log) {
            assert_eq!(batch.seq, expected, "the log is dense");
        }
        for pair in log.windows(2) {
            assert!(pair[0].segment <= pair[1].segment);
            assert!(pair[0].stamp_start < pair[1].stamp_start);
        }
        log
    }

    /// How often a key is in a slot's log.
    pub(crate) async fn times_logged(&self, slot: Slot, key: &str) -> usize {
        let log = self.log(slot).await;
        let keys = log.iter().flat_map(|batch| &batch.keys);
        keys.filter(|logged| *logged == key).count()
    }

    /// Every archive row as bytes, stamps included.
    pub(crate) fn dump(&self) -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
        let mut dump = Vec::new();
        for table in [&POINTS, &LAST, &RELAYED] {
            let shown = self.embedded.each_stored_row(table, |key, bytes| {
                dump.push((table.name, key.to_vec(), bytes.to_vec()));
            });
            shown.unwrap();
        }
        dump
    }
}

fn logged(segment: i64, row: &Row) -> Logged {
    let body = row.values[2].as_bytes().unwrap().clone();
    let bytes = body.len();
    let batch = Batch::decode(body).unwrap();
    Logged {
        segment,
        seq: row.clustering[0].as_i64().unwrap(),
        stamp_start: row.values[1].as_i64().unwrap(),
        bytes,
        keys: batch.entries.iter().map(key_of).collect(),
        sources: batch.entries.into_iter().map(|e| e.relay_source).collect(),
    }
}

impl Process {
    /// Submits one entry and waits until it is applied.
    pub(crate) async fn put(&self, slot: Slot, key: &str) -> Result<Position, AppendError> {
        self.put_entry(slot, entry(key)).await
    }

    pub(crate) async fn put_entry(
        &self,
        slot: Slot,
        entry: Entry,
    ) -> Result<Position, AppendError> {
        let ticket = self.logs.submit(slot, None, vec![entry])?;
        let waited = tokio::time::timeout(PATIENCE, ticket.applied()).await;
        waited.expect("a ticket resolves")
    }

    /// Returns when the slot serves.
    pub(crate) async fn serves(&self, slot: Slot) {
        eventually("the slot serves again", async || {
            self.logs.barrier(slot).await.is_ok()
        })
        .await;
    }

    /// Ends as a drained process does.
    pub(crate) async fn finish(self) {
        let finished = tokio::time::timeout(PATIENCE, self.tasks.finish()).await;
        finished.expect("the tasks end");
    }

    /// Ends abruptly: every task is cut at its next await.
    pub(crate) async fn kill(self) {
        self.tasks.hard().cancel();
        self.finish().await;
    }
}

/// Waits until it is so.
pub(crate) async fn eventually(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let becomes = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, becomes).await;
    assert!(waited.is_ok(), "never: {what}");
}
