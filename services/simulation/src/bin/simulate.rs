//! `simulate`: runs seeds of the simulation and tells what they found.

use std::{
    io::{self, Write},
    num::NonZeroUsize,
    ops::AddAssign,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use clap::Parser;
use hanse_runtime::{Clock, SystemClock};
use hanse_simulation::{Keep, Report, Totals, run};
use parking_lot::Mutex;

/// Seeds of a run that asks for nothing else.
const SEEDS: u64 = 200;
/// How often progress is printed.
const PROGRESS_PERIOD: Duration = Duration::from_secs(10);

/// Run the slot log in a world that fails, one seed after the other.
#[derive(Debug, Parser)]
#[command(name = "simulate")]
struct Cli {
    /// How many seeds to run [default: 200, unless something else is asked for]
    #[arg(long)]
    seeds: Option<u64>,
    /// The first of them
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Run this seed alone and print its whole journal
    #[arg(long)]
    seed: Option<u64>,
    /// Run so many seeds twice and compare the two runs of each, byte for byte
    #[arg(long, value_name = "N")]
    determinism: Option<u64>,
    /// Threads [default: as many as there are processors]
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
}

/// How many checks passed and failed.
#[derive(Clone, Copy, Default)]
struct Account {
    passed: u64,
    failed: u64,
}

impl AddAssign for Account {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

fn main() -> ExitCode {
    hanse_simulation::collect_panics();
    let account = work(&Cli::parse()).unwrap_or_else(|error| {
        say(format_args!("simulate: {error}"));
        Account {
            passed: 0,
            failed: 1,
        }
    });
    let Account { passed, failed } = account;
    say(format_args!("{passed} passed, {failed} failed"));
    ExitCode::from(u8::from(failed > 0))
}

fn work(cli: &Cli) -> io::Result<Account> {
    let mut account = Account::default();
    if let Some(seed) = cli.seed {
        account += one(seed)?;
    }
    let nothing = cli.seed.is_none() && cli.determinism.is_none();
    if let Some(seeds) = cli.seeds.or(nothing.then_some(SEEDS)) {
        account += many(cli, seeds)?;
    }
    if let Some(seeds) = cli.determinism {
        account += determinism(cli.from, seeds)?;
    }
    Ok(account)
}

fn say(what: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{what}");
}

fn one(seed: u64) -> io::Result<Account> {
    let report = run(seed, Keep::All)?;
    let clean = report.violations.is_empty();
    if clean {
        for line in &report.journal {
            say(format_args!("{line}"));
        }
    }
    let mut totals = Totals::default();
    totals.add(report);
    say(format_args!("{totals}"));
    Ok(Account {
        passed: u64::from(clean),
        failed: u64::from(!clean),
    })
}

fn many(cli: &Cli, seeds: u64) -> io::Result<Account> {
    let totals = Mutex::new(Totals::default());
    let (clock, told) = (SystemClock::new(), Mutex::new(Duration::ZERO));
    each_seed(cli, seeds, |report| {
        let mut totals = totals.lock();
        totals.add(report);
        let (now, mut told) = (clock.monotonic(), told.lock());
        if now.saturating_sub(*told) >= PROGRESS_PERIOD {
            *told = now;
            let (runs, violating) = (totals.runs, totals.violating);
            say(format_args!(
                "{runs} of {seeds} seeds, {violating} with violations"
            ));
        }
    })?;
    let totals = totals.into_inner();
    say(format_args!("{totals}"));
    let (from, to) = (cli.from, cli.from + seeds - 1);
    let seconds = clock.monotonic().as_secs_f64();
    say(format_args!("seeds {from} to {to} in {seconds:.1} s"));
    let never = totals.faults_that_never_occurred().len() as u64;
    Ok(Account {
        passed: totals.runs - totals.violating,
        failed: totals.violating + never,
    })
}

/// Runs the seeds on all processors.
fn each_seed(cli: &Cli, seeds: u64, take: impl Fn(Report) + Sync) -> io::Result<()> {
    let jobs = cli.jobs.or_else(|| thread::available_parallelism().ok());
    let next = AtomicU64::new(0);
    let work = || loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= seeds {
            return Ok(());
        }
        take(run(cli.from + number, Keep::Tail)?);
    };
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for number in 0..jobs.map_or(1, NonZeroUsize::get) {
            let thread = thread::Builder::new().name(format!("seeds-{number}"));
            threads.push(thread.spawn_scoped(scope, work)?);
        }
        let lost = || io::Error::other("a thread is lost");
        let ended = threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| lost())?);
        ended.collect()
    })
}

fn determinism(from: u64, seeds: u64) -> io::Result<Account> {
    let mut differ = 0;
    for seed in from..from + seeds {
        let (first, second) = (run(seed, Keep::Tail)?, run(seed, Keep::Tail)?);
        if first.digest == second.digest {
            say(format_args!(
                "seed {seed}: twice {:032x}, {} lines",
                first.digest.hash, first.digest.lines
            ));
        } else {
            differ += 1;
            tell_difference(seed)?;
        }
    }
    Ok(Account {
        passed: seeds - differ,
        failed: differ,
    })
}

/// Runs the seed until two runs differ, and shows the first line in which they do.
fn tell_difference(seed: u64) -> io::Result<()> {
    let first = run(seed, Keep::All)?;
    for _ in 0..5 {
        let other = run(seed, Keep::All)?;
        let lines = first.journal.iter().zip(&other.journal);
        if let Some((number, (one, two))) = lines.enumerate().find(|(_, (one, two))| one != two) {
            say(format_args!(
                "seed {seed}, line {number}:\n  {one}\n  {two}"
            ));
            return Ok(());
        }
    }
    say(format_args!(
        "seed {seed}: two runs differ, in the order of turns only"
    ));
    Ok(())
}
