//! Which key-value engine carries the embedded store: fjall and redb under our access pattern, and a
//! plain fsync loop beside them. The figures are in `docs/store.md`.
//!
//! `cargo run --release -p hanse-store-embedded --example engine_choice -- <empty directory> [seconds]`
//!
//! One writer takes groups of 30 appends of 1 KiB, each group synced before it counts, and writes 300
//! rows for it (100 to 900 bytes, keys of 80 bytes, the stamp of each read before it is written), while
//! a reader makes point reads and short reverse scans. First as fast as it goes, then at 50 groups a
//! second; then the process is killed and the directory is opened again.
#![expect(clippy::print_stdout, reason = "a program that reports")]
#![expect(clippy::disallowed_methods, reason = "it measures real time")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::{
    error::Error,
    fs::File,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use fjall::{KeyspaceCreateOptions, PersistMode, Readable};
use redb::{ReadableDatabase, ReadableTable, TableDefinition};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

const APPENDS_PER_GROUP: usize = 30;
const ROWS_PER_APPEND: usize = 10;
const APPEND_BYTES: usize = 1024;
const CACHE_BYTES: usize = 256 * 1024 * 1024;
const PACED_GROUPS_PER_SECOND: u64 = 50;

/// The engine's side of the pattern.
trait Engine: Send + Sync {
    /// Writes the appends and waits for the disk, and writes the rows before or after. Returns the
    /// time that the appends waited.
    fn group(&self, appends: &[Pair], rows: &[Pair]) -> Outcome<Duration>;
    fn get(&self, key: &[u8]) -> Outcome<bool>;
    fn scan_back(&self, from: &[u8], to: &[u8], limit: usize) -> Outcome<usize>;
}

struct Pair {
    key: Vec<u8>,
    value: Vec<u8>,
}

struct Fjall {
    db: fjall::Database,
    log: fjall::Keyspace,
    rows: fjall::Keyspace,
}

impl Fjall {
    fn open(path: &Path) -> Outcome<Self> {
        let db = fjall::Database::builder(path)
            .manual_journal_persist(true)
            .cache_size(CACHE_BYTES as u64)
            .open()?;
        Ok(Self {
            log: db.keyspace("log", KeyspaceCreateOptions::default)?,
            rows: db.keyspace("rows", KeyspaceCreateOptions::default)?,
            db,
        })
    }
}

impl Engine for Fjall {
    fn group(&self, appends: &[Pair], rows: &[Pair]) -> Outcome<Duration> {
        let begun = Instant::now();
        let mut batch = self.db.batch();
        for pair in appends {
            batch.insert(&self.log, pair.key.as_slice(), pair.value.as_slice());
        }
        batch.commit()?;
        self.db.persist(PersistMode::SyncData)?;
        let waited = begun.elapsed();
        let mut batch = self.db.batch();
        for pair in rows {
            let old = self.rows.get(&pair.key)?;
            if old.is_none_or(|old| old.get(..8) < pair.value.get(..8)) {
                batch.insert(&self.rows, pair.key.as_slice(), pair.value.as_slice());
            }
        }
        batch.commit()?;
        self.db.persist(PersistMode::Buffer)?;
        Ok(waited)
    }

    fn get(&self, key: &[u8]) -> Outcome<bool> {
        Ok(self.rows.get(key)?.is_some())
    }

    fn scan_back(&self, from: &[u8], to: &[u8], limit: usize) -> Outcome<usize> {
        let mut found = 0;
        let snapshot = self.db.snapshot();
        for pair in snapshot.range(&self.rows, from..to).rev().take(limit) {
            found += usize::from(!pair.value()?.is_empty());
        }
        Ok(found)
    }
}

const LOG: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("log");
const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");

struct Redb(redb::Database);

impl Redb {
    fn open(path: &Path) -> Outcome<Self> {
        std::fs::create_dir_all(path)?;
        let db = redb::Builder::new()
            .set_cache_size(CACHE_BYTES)
            .create(path.join("redb"))?;
        let write = db.begin_write()?;
        write.open_table(LOG)?;
        write.open_table(ROWS)?;
        write.commit()?;
        Ok(Self(db))
    }
}

impl Engine for Redb {
    // One transaction for both: a commit that is not synced would not survive the process, either.
    fn group(&self, appends: &[Pair], rows: &[Pair]) -> Outcome<Duration> {
        let begun = Instant::now();
        let write = self.0.begin_write()?;
        {
            let mut log = write.open_table(LOG)?;
            for pair in appends {
                log.insert(pair.key.as_slice(), pair.value.as_slice())?;
            }
            let mut table = write.open_table(ROWS)?;
            for pair in rows {
                let wins = table
                    .get(pair.key.as_slice())?
                    .is_none_or(|old| old.value().get(..8) < pair.value.get(..8));
                if wins {
                    table.insert(pair.key.as_slice(), pair.value.as_slice())?;
                }
            }
        }
        write.commit()?;
        Ok(begun.elapsed())
    }

    fn get(&self, key: &[u8]) -> Outcome<bool> {
        Ok(self.0.begin_read()?.open_table(ROWS)?.get(key)?.is_some())
    }

    fn scan_back(&self, from: &[u8], to: &[u8], limit: usize) -> Outcome<usize> {
        let table = self.0.begin_read()?.open_table(ROWS)?;
        let mut found = 0;
        for pair in table.range(from..to)?.rev().take(limit) {
            found += usize::from(!pair?.1.value().is_empty());
        }
        Ok(found)
    }
}

/// A small generator: the same work for both engines.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// Half noise, half a run: like JSON, it compresses about to the half.
    fn value(&mut self, stamp: u64, bytes: usize) -> Vec<u8> {
        let mut value = stamp.to_be_bytes().to_vec();
        while value.len() < bytes / 2 {
            value.extend_from_slice(&self.below(u64::MAX).to_be_bytes());
        }
        value.resize(bytes, b'x');
        value
    }
}

/// A row's key of 80 bytes: one of 2,000 rooms, and a position.
fn row_key(room: u64, position: u64) -> Vec<u8> {
    format!("{:0>48}/{room:08}/{position:022}", "!room:example.org").into_bytes()
}

/// What a group writes: appends to 16 slots; 7 of 10 rows are new, the others written again.
fn make_group(random: &mut Random, stamp: &mut u64) -> (Vec<Pair>, Vec<Pair>) {
    let mut appends = Vec::with_capacity(APPENDS_PER_GROUP);
    let mut rows = Vec::with_capacity(APPENDS_PER_GROUP * ROWS_PER_APPEND);
    for _ in 0..APPENDS_PER_GROUP {
        *stamp += 1;
        let slot = random.below(16);
        appends.push(Pair {
            key: format!("log/{slot:04}/{stamp:020}").into_bytes(),
            value: random.value(*stamp, APPEND_BYTES),
        });
        for row in 0..ROWS_PER_APPEND {
            *stamp += 1;
            let room = random.below(2_000);
            let position = if row < 7 { *stamp } else { random.below(50) };
            let bytes = 100 + random.below(800) as usize;
            rows.push(Pair {
                key: row_key(room, position),
                value: random.value(*stamp, bytes),
            });
        }
    }
    (appends, rows)
}

/// What one phase came to.
struct Phase {
    groups: u64,
    payload_bytes: u64,
    seconds: f64,
    cpu_seconds: f64,
    written_bytes: u64,
    waits: Vec<Duration>,
}

impl Phase {
    fn report(&mut self, name: &str, engine: &str) {
        self.waits.sort_unstable();
        let appends = (self.groups * APPENDS_PER_GROUP as u64) as f64;
        let at = |share: f64| {
            let index = (self.waits.len() as f64 * share) as usize;
            let wait = self
                .waits
                .get(index.min(self.waits.len().saturating_sub(1)));
            wait.map_or(f64::NAN, |wait| wait.as_secs_f64() * 1e3)
        };
        println!(
            "{engine:6} {name:6} {:7.0} appends/s  p50 {:6.2} ms  p99 {:7.2} ms  max {:7.1} ms  \
             {:5.0} us CPU per append and its rows  {:5.1} MB/s payload  x{:.1} written",
            appends / self.seconds,
            at(0.5),
            at(0.99),
            at(1.0),
            self.cpu_seconds * 1e6 / appends,
            self.payload_bytes as f64 / self.seconds / 1e6,
            self.written_bytes as f64 / self.payload_bytes as f64,
        );
    }
}

fn cpu_seconds() -> Outcome<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.split(' ').collect();
    let ticks: f64 = [13, 14]
        .iter()
        .filter_map(|at| fields.get(*at)?.parse::<f64>().ok())
        .sum();
    Ok(ticks / 100.0)
}

fn written_bytes() -> Outcome<u64> {
    let io = std::fs::read_to_string("/proc/self/io")?;
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(line.unwrap_or("0").parse()?)
}

fn run_phase(
    engine: &dyn Engine,
    random: &mut Random,
    stamp: &mut u64,
    seconds: u64,
    groups_per_second: Option<u64>,
) -> Outcome<Phase> {
    let (cpu, written, begun) = (cpu_seconds()?, written_bytes()?, Instant::now());
    let mut waits = Vec::new();
    let mut payload_bytes = 0;
    while begun.elapsed() < Duration::from_secs(seconds) {
        let (appends, rows) = make_group(random, stamp);
        let pairs = appends.iter().chain(&rows);
        payload_bytes += pairs
            .map(|pair| pair.key.len() + pair.value.len())
            .sum::<usize>() as u64;
        waits.push(engine.group(&appends, &rows)?);
        if let Some(rate) = groups_per_second {
            let due = Duration::from_micros(waits.len() as u64 * 1_000_000 / rate);
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
        }
    }
    Ok(Phase {
        groups: waits.len() as u64,
        payload_bytes,
        seconds: begun.elapsed().as_secs_f64(),
        cpu_seconds: cpu_seconds()? - cpu,
        written_bytes: written_bytes()? - written,
        waits,
    })
}

/// 500 point reads and 100 reverse scans of 20 rows a second, until told to stop.
fn read_beside(engine: &dyn Engine, stop: &AtomicBool, slowest_us: &AtomicU64) -> Outcome {
    let mut random = Random(77);
    let mut micros = 0u64;
    let mut reads = 0u64;
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        for _ in 0..5 {
            engine.get(&row_key(random.below(2_000), random.below(50)))?;
        }
        let room = random.below(2_000);
        engine.scan_back(&row_key(room, 0), &row_key(room + 1, 0), 20)?;
        let spent = begun.elapsed().as_micros() as u64;
        slowest_us.fetch_max(spent, Ordering::Relaxed);
        (micros, reads) = (micros + spent, reads + 1);
        std::thread::sleep(Duration::from_millis(10));
    }
    println!(
        "       reads  5 points and a reverse scan of 20: {} us on average, {} us at most",
        micros / reads.max(1),
        slowest_us.load(Ordering::Relaxed),
    );
    Ok(())
}

fn open(engine: &str, path: &Path) -> Outcome<Arc<dyn Engine>> {
    Ok(match engine {
        "fjall" => Arc::new(Fjall::open(path)?),
        _ => Arc::new(Redb::open(path)?),
    })
}

/// The process that writes, and is killed in the end.
fn write_until_killed(name: &str, path: &Path, seconds: u64) -> Outcome {
    let engine = open(name, path)?;
    let (mut random, mut stamp) = (Random(42), 0);
    let (stop, slowest_us) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| -> Outcome {
        let reader = scope.spawn(|| read_beside(&*engine, &stop, &slowest_us));
        let phases = [
            ("full", seconds, None),
            ("paced", seconds / 2, Some(PACED_GROUPS_PER_SECOND)),
        ];
        for (phase, seconds, rate) in phases {
            run_phase(&*engine, &mut random, &mut stamp, seconds, rate)?.report(phase, name);
        }
        stop.store(true, Ordering::Relaxed);
        reader.join().map_err(|_| "the reader panicked")?
    })?;
    println!("KILL");
    run_phase(&*engine, &mut random, &mut stamp, 3_600, None)?;
    Ok(())
}

fn disk_bytes(path: &Path) -> Outcome<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() {
            disk_bytes(&entry.path())?
        } else {
            metadata.blocks() * 512
        };
    }
    Ok(bytes)
}

/// Runs the writing process, kills it, and opens its directory again.
fn measure(engine: &str, path: &Path, seconds: u64) -> Outcome {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["write", engine])
        .arg(path)
        .arg(seconds.to_string())
        .stdout(Stdio::piped())
        .spawn()?;
    let lines = BufReader::new(child.stdout.take().ok_or("no pipe")?).lines();
    for line in lines {
        let line = line?;
        if line == "KILL" {
            break;
        }
        println!("{line}");
    }
    std::thread::sleep(Duration::from_millis(500));
    child.kill()?;
    child.wait()?;
    let bytes = disk_bytes(path)?;
    let begun = Instant::now();
    let reopened = open(engine, path)?;
    println!(
        "{engine:6} {:.2} GB on disk after kill -9, opened again in {:.2} s",
        bytes as f64 / 1e9,
        begun.elapsed().as_secs_f64(),
    );
    drop(reopened);
    std::fs::remove_dir_all(path)?;
    Ok(())
}

/// A plain loop of what a group of appends writes, and fdatasync.
fn fsync_loop(path: &Path) -> Outcome {
    let mut file = File::create(path.join("fsync"))?;
    file.set_len(64 * 1024 * 1024)?;
    file.sync_all()?;
    let block = Random(42).value(0, APPENDS_PER_GROUP * APPEND_BYTES);
    let begun = Instant::now();
    let mut waits = Vec::new();
    while begun.elapsed() < Duration::from_secs(5) {
        let write = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        waits.push(write.elapsed());
    }
    let count = waits.len();
    waits.sort_unstable();
    let at = |index: usize| {
        waits
            .get(index)
            .map_or(f64::NAN, |wait| wait.as_secs_f64() * 1e3)
    };
    println!(
        "fsync  loop   {:7.0} fsyncs/s   p50 {:6.2} ms  p99 {:7.2} ms  max {:7.1} ms",
        count as f64 / begun.elapsed().as_secs_f64(),
        at(count / 2),
        at(count * 99 / 100),
        at(count - 1),
    );
    Ok(())
}

fn main() -> Outcome {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "write") {
        let [_, engine, path, seconds] = <[String; 4]>::try_from(arguments).map_err(|_| "usage")?;
        return write_until_killed(&engine, Path::new(&path), seconds.parse()?);
    }
    let seconds = arguments.pop_if(|last| last.parse::<u64>().is_ok());
    let seconds = seconds.map_or(Ok(60), |seconds| seconds.parse())?;
    let directory = PathBuf::from(
        arguments
            .pop()
            .ok_or("usage: engine_choice <directory> [seconds]")?,
    );
    std::fs::create_dir_all(&directory)?;
    fsync_loop(&directory)?;
    for engine in ["fjall", "redb"] {
        measure(engine, &directory.join(engine), seconds)?;
    }
    fsync_loop(&directory)?;
    Ok(())
}
