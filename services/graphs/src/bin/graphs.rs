//! `graphs`: grows random event graphs, feeds each in several orders, and compares with the reference.
#![expect(
    clippy::print_stdout,
    reason = "a command line tool reports to its user"
)]

use std::{
    num::NonZeroUsize,
    ops::Range,
    path::PathBuf,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use anyhow::Result;
use clap::Parser;
use hanse_graphs::{Counts, Graph, Progress, Seen, Storage, Trial, World};
use hanse_runtime::{Clock, SystemClock};
use parking_lot::Mutex;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often progress is printed.
const PROGRESS_PERIOD: Duration = Duration::from_secs(30);

/// Grow random event graphs, feed them to the room pipeline, and compare with a naive reference.
#[derive(Debug, Parser)]
#[command(name = "graphs")]
struct Cli {
    /// How many graphs
    #[arg(long, default_value_t = 2_000)]
    graphs: u64,
    /// The seed of the first
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// In how many orders each is fed
    #[arg(long, default_value_t = 2)]
    orders: u64,
    /// Threads [default: as many as there are processors]
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
    /// What the rooms are kept in
    #[arg(long, value_enum, default_value_t = Storage::Memory)]
    storage: Storage,
    /// Go on where the last run with this file ended, and write there how far this one comes
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// Begin with no more graphs after so many seconds
    #[arg(long)]
    seconds: Option<u64>,
}

/// What all threads share.
struct Run<'a> {
    cli: &'a Cli,
    clock: &'a dyn Clock,
    started: Duration,
    /// The next seed that nobody has taken.
    next: AtomicU64,
    progress: Mutex<Progress>,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(passed) => ExitCode::from(u8::from(!passed)),
        Err(error) => {
            println!("graphs: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// True: nothing failed.
fn run(cli: &Cli) -> Result<bool> {
    let clock = SystemClock::shared();
    let progress = match &cli.resume {
        Some(file) => Progress::read(file, cli.from, cli.orders)?,
        None => Progress::begin(cli.from, cli.orders),
    };
    let run = Run {
        cli,
        clock: &*clock,
        started: clock.monotonic(),
        next: AtomicU64::new(progress.next()),
        progress: Mutex::new(progress),
    };
    let jobs = cli.jobs.or_else(|| thread::available_parallelism().ok());
    thread::scope(|scope| {
        let threads = (0..jobs.map_or(1, NonZeroUsize::get)).map(|_| scope.spawn(|| run.work()));
        let threads: Vec<_> = threads.collect();
        let ended = threads.into_iter().map(thread::ScopedJoinHandle::join);
        let ended =
            ended.map(|ended| ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        ended.collect::<Result<Vec<()>>>()
    })?;
    Ok(run.report())
}

impl Run<'_> {
    /// Takes stretches of seeds until none is left, or the time is up.
    fn work(&self) -> Result<()> {
        let mut told = self.clock.monotonic();
        let end = self.cli.from + self.cli.graphs;
        while !self.is_late() {
            let stretch = self.cli.storage.graphs_max();
            let first = self.next.fetch_add(stretch, Ordering::Relaxed);
            if first >= end {
                break;
            }
            let seeds = first..(first + stretch).min(end);
            let seen = self.stretch(seeds.clone())?;
            let mut progress = self.progress.lock();
            progress.add(seeds.start, seeds.end, seen);
            if let Some(file) = &self.cli.resume {
                progress.write(file)?;
            }
            if self.clock.monotonic().saturating_sub(told) >= PROGRESS_PERIOD {
                told = self.clock.monotonic();
                println!("{} graphs so far", progress.graphs());
            }
        }
        Ok(())
    }

    fn seconds(&self) -> u64 {
        let took = self.clock.monotonic().saturating_sub(self.started);
        took.as_secs()
    }

    fn is_late(&self) -> bool {
        self.cli.seconds.is_some_and(|most| self.seconds() >= most)
    }

    /// Runs seeds on stores of their own, one for each order.
    fn stretch(&self, seeds: Range<u64>) -> Result<Seen> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let mut worlds = Vec::new();
            for order in 0..self.cli.orders {
                worlds.push(World::for_order(self.cli.storage, order).await?);
            }
            let mut seen = Seen::default();
            for seed in seeds {
                seen.add(fed(&worlds, seed).await);
            }
            for world in worlds {
                world.close().await;
            }
            Ok(seen)
        })
    }

    /// Prints what was seen, the count last. True: nothing failed.
    fn report(&self) -> bool {
        let progress = self.progress.lock();
        let seen = progress.seen();
        for failure in &seen.failures {
            println!("{failure}");
        }
        println!("{}; {} s", seen.counts, self.seconds());
        let (graphs, wanted) = (progress.graphs(), self.cli.graphs);
        if graphs < wanted {
            println!(
                "{graphs} of {wanted} graphs; the next seed is {}",
                progress.next()
            );
        }
        let passed = graphs.saturating_sub(seen.failed);
        println!("{passed} passed, {} failed", seen.failed);
        seen.failed == 0
    }
}

async fn fed(worlds: &[World], seed: u64) -> Result<Counts> {
    let graph = Graph::grow(seed)?;
    let mut counts = Counts::default();
    for (order, world) in (0..).zip(worlds) {
        counts += Trial::run(world, &graph, order).await?;
    }
    Ok(counts)
}
