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
use hanse_simulation::{Keep, Report, Sabotage, Totals, Violation, run};
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
    /// Have the log do each of its sabotages in turn: every one must be found within so many seeds
    #[arg(long, value_name = "SEEDS", num_args = 0..=1, default_missing_value = "1000")]
    mutations: Option<u64>,
    /// Have the log do this sabotage in every run
    #[arg(long, value_name = "NAME", value_parser = sabotage)]
    sabotage: Option<Sabotage>,
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
        account += one(cli, seed)?;
    }
    let nothing = cli.seed.is_none() && cli.determinism.is_none() && cli.mutations.is_none();
    if let Some(seeds) = cli.seeds.or(nothing.then_some(SEEDS)) {
        account += many(cli, seeds)?;
    }
    if let Some(seeds) = cli.determinism {
        account += determinism(cli, seeds)?;
    }
    if let Some(seeds) = cli.mutations {
        account += mutations(cli, seeds)?;
    }
    Ok(account)
}

fn say(what: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{what}");
}

fn one(cli: &Cli, seed: u64) -> io::Result<Account> {
    let report = run(seed, cli.sabotage, Keep::All)?;
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
    each_seed(cli, seeds, cli.sabotage, |report| {
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
        true
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

/// Runs the seeds in their order on all processors, until `take` wants no more.
fn each_seed(
    cli: &Cli,
    seeds: u64,
    sabotage: Option<Sabotage>,
    take: impl Fn(Report) -> bool + Sync,
) -> io::Result<()> {
    let jobs = cli.jobs.or_else(|| thread::available_parallelism().ok());
    let next = AtomicU64::new(0);
    let work = || loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= seeds {
            return Ok(());
        }
        if !take(run(cli.from + number, sabotage, Keep::Tail)?) {
            next.store(seeds, Ordering::Relaxed);
        }
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

/// A sabotage by its name.
fn sabotage(name: &str) -> Result<Sabotage, String> {
    let named = |sabotage: &&Sabotage| format!("{sabotage:?}") == name;
    let found = Sabotage::ALL.iter().find(named).copied();
    found.ok_or_else(|| format!("not one of {:?}", Sabotage::ALL))
}

/// Each sabotage with the first seed that finds it.
fn mutations(cli: &Cli, seeds: u64) -> io::Result<Account> {
    let mut account = Account::default();
    for sabotage in Sabotage::ALL {
        let found: Mutex<Option<(u64, Violation)>> = Mutex::default();
        each_seed(cli, seeds, Some(*sabotage), |report| {
            let Some(violation) = report.violations.into_iter().next() else {
                return true;
            };
            let mut found = found.lock();
            if found.as_ref().is_none_or(|(seed, _)| report.seed < *seed) {
                *found = Some((report.seed, violation));
            }
            false
        })?;
        let name = format!("{sabotage:?}");
        if let Some((seed, violation)) = found.into_inner() {
            account.passed += 1;
            say(format_args!(
                "{name:28} seed {seed:>4}: {}",
                violation.check
            ));
        } else {
            account.failed += 1;
            say(format_args!("{name:28} not found in {seeds} seeds"));
        }
    }
    Ok(account)
}

fn determinism(cli: &Cli, seeds: u64) -> io::Result<Account> {
    let mut differ = 0;
    let again = |seed| run(seed, cli.sabotage, Keep::Tail);
    for seed in cli.from..cli.from + seeds {
        let (first, second) = (again(seed)?, again(seed)?);
        if first.digest == second.digest {
            say(format_args!(
                "seed {seed}: twice {:032x}, {} lines",
                first.digest.hash, first.digest.lines
            ));
        } else {
            differ += 1;
            tell_difference(cli, seed)?;
        }
    }
    Ok(Account {
        passed: seeds - differ,
        failed: differ,
    })
}

/// Runs the seed until two runs differ, and shows the first line in which they do.
fn tell_difference(cli: &Cli, seed: u64) -> io::Result<()> {
    let first = run(seed, cli.sabotage, Keep::All)?;
    for _ in 0..5 {
        let other = run(seed, cli.sabotage, Keep::All)?;
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
