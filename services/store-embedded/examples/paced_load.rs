//! What the store costs at the goal: 1,500 appends and 15,000 row puts a second, through the verbs.
//!
//! `cargo run --release -p hanse-store-embedded --example paced_load -- <empty directory> [seconds]
//! [appends/s, 0: as fast as it goes]`
//!
//! 32 senders on 16 slots: each appends 1 KiB (synced, conditional on the slot's head), then puts the 10
//! rows of that append (buffered), as the log does. The last line tells CPU and latencies.
#![expect(clippy::print_stdout, reason = "a program that reports")]
#![expect(clippy::disallowed_methods, reason = "it measures real time")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::{
    error::Error,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use hanse_store::{
    Column, ConditionalBatch, ConditionalStep, Consistency, Direction, Durability, Key, Kind,
    Mutation, Outcome, Range, Scan, StampedPut, Store, Table, Value,
};
use hanse_store_embedded::{EmbeddedStore, Options};
use tokio::{sync::Mutex, task::JoinSet};

// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failed = Box<dyn Error + Send + Sync>;

const SENDERS: u64 = 32;
const SLOTS: u64 = 16;
const ROWS_PER_APPEND: u64 = 10;

static LOG: Table = Table {
    name: "log",
    kind: Kind::Cas,
    partition: &[Column::bigint("slot"), Column::bigint("segment")],
    clustering: &[Column::bigint("seq")],
    statics: &[Column::bigint("epoch"), Column::bigint("next_seq")],
    values: &[Column::blob("body")],
};

static ROWS: Table = Table {
    name: "rows",
    kind: Kind::Stamped,
    partition: &[Column::text("room"), Column::bigint("bucket")],
    clustering: &[Column::bigint("position")],
    statics: &[],
    values: &[Column::text("event"), Column::blob("body")],
};

/// What the senders share.
struct Load {
    store: Arc<EmbeddedStore>,
    /// The next position of each slot; held for an append, since one batch is in flight per slot.
    heads: Vec<Mutex<i64>>,
    stamp: AtomicI64,
    noise: Vec<u8>,
    appends: AtomicU64,
}

impl Load {
    async fn append(&self, slot: u64) -> Result<(), Failed> {
        let index = usize::try_from(slot)?;
        let mut next = self.heads.get(index).ok_or("no such slot")?.lock().await;
        let batch = ConditionalBatch {
            table: &LOG,
            partition: vec![(slot as i64).into(), 0.into()],
            steps: vec![
                ConditionalStep::UpdateStatics {
                    set: vec![("next_seq", (*next + 1).into())],
                    conditions: vec![("epoch", 1.into()), ("next_seq", (*next).into())],
                },
                ConditionalStep::Insert {
                    clustering: vec![(*next).into()],
                    set: vec![("body", self.bytes(1024))],
                },
            ],
        };
        if self.store.conditional(batch).await? != Outcome::Applied {
            return Err("an append was refused".into());
        }
        *next += 1;
        Ok(())
    }

    async fn put_rows(&self, room: u64) -> Result<(), Failed> {
        let rows = (0..ROWS_PER_APPEND).map(|row| {
            let stamp = self.stamp.fetch_add(1, Ordering::Relaxed);
            let position = if row < 7 { stamp } else { stamp % 50 };
            Mutation::Put(StampedPut {
                table: &ROWS,
                key: Key::new(
                    [format!("!{room:0>40}:example.org").into(), 0.into()],
                    [position.into()],
                ),
                values: vec![
                    "$event".into(),
                    self.bytes(100 + (stamp as usize * 37) % 800),
                ],
                stamp,
                expires_at_ms: None,
            })
        });
        self.store
            .apply(rows.collect(), Durability::Buffered)
            .await?;
        Ok(())
    }

    async fn read(&self, room: u64) -> Result<(), Failed> {
        let scan = Scan {
            table: &ROWS,
            partition: vec![format!("!{room:0>40}:example.org").into(), 0.into()],
            range: Range::all(),
            direction: Direction::Backward,
            limit: 20,
        };
        self.store.scan(scan).await?;
        let key = Key::partition([0.into(), 0.into()]);
        self.store.get(&LOG, &key, Consistency::Quorum).await?;
        Ok(())
    }

    /// Half noise, half a run.
    fn bytes(&self, length: usize) -> Value {
        let at = self.stamp.load(Ordering::Relaxed) as usize * 13 % (self.noise.len() / 2);
        let mut bytes = self
            .noise
            .get(at..at + length / 2)
            .unwrap_or_default()
            .to_vec();
        bytes.resize(length, b'x');
        Value::from(bytes)
    }
}

struct Latencies {
    appends: Vec<Duration>,
    rows: Vec<Duration>,
    reads: Vec<Duration>,
}

async fn send(
    load: Arc<Load>,
    sender: u64,
    until: Instant,
    rate: u64,
) -> Result<Latencies, Failed> {
    let begun = Instant::now();
    let mut latencies = Latencies {
        appends: Vec::new(),
        rows: Vec::new(),
        reads: Vec::new(),
    };
    for round in 0u64.. {
        if let Some(per_sender_us) = (1_000_000 * SENDERS).checked_div(rate) {
            let due =
                begun + Duration::from_micros((round * SENDERS + sender) * per_sender_us / SENDERS);
            tokio::time::sleep_until(due.into()).await;
        }
        if Instant::now() > until {
            break;
        }
        let append = Instant::now();
        load.append(sender % SLOTS).await?;
        latencies.appends.push(append.elapsed());
        let rows = Instant::now();
        let room = (sender * 7919 + round) * 2_654_435_761 % 2_000;
        load.put_rows(room).await?;
        latencies.rows.push(rows.elapsed());
        load.appends.fetch_add(1, Ordering::Relaxed);
        if round % 4 == 0 {
            let read = Instant::now();
            load.read(room).await?;
            latencies.reads.push(read.elapsed());
        }
    }
    Ok(latencies)
}

fn cpu_seconds() -> Result<f64, Failed> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.split(' ').collect();
    let ticks = [13, 14]
        .iter()
        .filter_map(|at| fields.get(*at)?.parse::<f64>().ok());
    Ok(ticks.sum::<f64>() / 100.0)
}

fn report(name: &str, mut waits: Vec<Duration>) {
    waits.sort_unstable();
    let at = |share: f64| {
        let index = (waits.len() as f64 * share) as usize;
        let wait = waits.get(index.min(waits.len().saturating_sub(1)));
        wait.map_or(f64::NAN, |wait| wait.as_secs_f64() * 1e3)
    };
    println!(
        "{name:8} p50 {:6.2} ms  p99 {:6.2} ms  max {:6.1} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

fn noise() -> Vec<u8> {
    let mut state = 42u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..1 << 20).map(|_| next()).collect()
}

async fn open(directory: PathBuf) -> Result<Arc<Load>, Failed> {
    let clock = || {
        let since = SystemTime::UNIX_EPOCH.elapsed();
        since.map_or(0, |since| since.as_millis() as i64)
    };
    let store = EmbeddedStore::open(directory, Options::new(Arc::new(clock)))?;
    store.create_tables(&[&LOG, &ROWS]).await?;
    for slot in 0..SLOTS {
        let head = ConditionalStep::InsertStaticsIfNotExists {
            set: vec![("epoch", 1.into()), ("next_seq", 0.into())],
        };
        let batch = ConditionalBatch {
            table: &LOG,
            partition: vec![(slot as i64).into(), 0.into()],
            steps: vec![head],
        };
        store.conditional(batch).await?;
    }
    Ok(Arc::new(Load {
        store,
        heads: (0..SLOTS).map(|_| Mutex::new(0)).collect(),
        stamp: AtomicI64::new(1),
        noise: noise(),
        appends: AtomicU64::new(0),
    }))
}

async fn run(directory: PathBuf, seconds: u64, rate: u64) -> Result<(), Failed> {
    let load = open(directory).await?;
    let (begun, cpu) = (Instant::now(), cpu_seconds()?);
    let until = begun + Duration::from_secs(seconds);
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        senders.spawn(send(Arc::clone(&load), sender, until, rate));
    }
    let (mut appends, mut rows, mut reads) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(sender) = senders.join_next().await {
        let latencies = sender??;
        appends.extend(latencies.appends);
        rows.extend(latencies.rows);
        reads.extend(latencies.reads);
    }
    let (elapsed, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    report("append", appends);
    report("10 rows", rows);
    report("reads", reads);
    let count = load.appends.load(Ordering::Relaxed) as f64;
    println!(
        "{:.0} appends/s, {:.0} rows/s, {:.2} cores, {:.0} us CPU per append and its rows",
        count / elapsed,
        count / elapsed * ROWS_PER_APPEND as f64,
        cpu / elapsed,
        cpu * 1e6 / count,
    );
    Ok(())
}

fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments
        .next()
        .ok_or("usage: paced_load <directory> [seconds] [appends/s]")?;
    let seconds = arguments.next().map_or(Ok(30), |seconds| seconds.parse())?;
    let rate = arguments.next().map_or(Ok(1_500), |rate| rate.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(PathBuf::from(directory), seconds, rate))
}
