//! `fork-cost`: what a fork costs in a room that many have joined since.
#![expect(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a command line tool reports to its user, who does not count to 2^52"
)]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use hanse_event::Received;
use hanse_graphs::{Crowd, Plan, Quarrel, Storage, World};
use hanse_room::{Fate, RECEIVED_MAX};
use hanse_runtime::{Clock, SystemClock};
use hanse_testkit::MeasuredCluster;
use ruma::RoomVersionId;

/// Feed a fork from before many joins, event by event.
#[derive(Debug, Parser)]
#[command(name = "fork-cost")]
struct Cli {
    #[command(flatten)]
    cluster: MeasuredCluster,
    /// How often the power levels change before the fork
    #[arg(long, default_value_t = 0)]
    levels: usize,
    /// How many join before the fork
    #[arg(long, default_value_t = 0)]
    crowd: usize,
    /// How many join on the main side
    #[arg(long, default_value_t = 20_000)]
    joins: usize,
    /// State events on the main side, after the joins
    #[arg(long, default_value_t = 0)]
    main: usize,
    /// State events on the fork
    #[arg(long, default_value_t = 1_000)]
    fork: usize,
    /// What they do
    #[arg(long, value_enum, default_value_t = Quarrel::Mixed)]
    quarrel: Quarrel,
    /// Somebody else sends on the fork
    #[arg(long)]
    two_senders: bool,
    /// Room version
    #[arg(long, default_value = "11")]
    version: RoomVersionId,
    /// Fail if one more event on the fork, with nothing remembered, takes longer
    #[arg(long)]
    cold_ms_max: Option<u128>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    let plan = Plan {
        levels: cli.levels,
        crowd: cli.crowd,
        joins: cli.joins,
        main: cli.main,
        fork: cli.fork,
        quarrel: cli.quarrel,
        two_senders: cli.two_senders,
    };
    let crowd = Crowd::gather(&cli.version, plan)?;
    let mut world = match cli.cluster.open("fork_cost").await? {
        Some(store) => World::over(store).await?,
        None => World::new(Storage::Embedded).await?,
    };
    let clock = SystemClock::shared();

    let (last, fork) = crowd.fork.split_last().context("no fork")?;
    for (name, events, at_once) in [
        ("the room", crowd.root.as_slice(), RECEIVED_MAX),
        ("the main side", crowd.main.as_slice(), RECEIVED_MAX),
        ("the fork", fork, 1),
    ] {
        let fed = feed(&world, &crowd, events, at_once, &*clock).await?;
        println!("{name}: {} events, {fed}", events.len());
    }
    // As another process would, which takes over the room.
    world.forget()?;
    let fed = feed(&world, &crowd, std::slice::from_ref(last), 1, &*clock).await?;
    println!("one more on the fork, nothing remembered: {fed}");
    if let Some(max) = cli.cold_ms_max {
        ensure!(fed.all.as_millis() <= max, "more than {max} ms");
    }
    world.close().await;
    Ok(())
}

/// What feeding cost.
struct Cost {
    all: Duration,
    longest: Duration,
    read: f64,
    written: f64,
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.3} s in all, {:.3} s the longest call; {:.1} rows read and {:.1} written per event",
            self.all.as_secs_f64(),
            self.longest.as_secs_f64(),
            self.read,
            self.written
        )
    }
}

async fn feed(
    world: &World,
    crowd: &Crowd,
    events: &[Received],
    at_once: usize,
    clock: &dyn Clock,
) -> Result<Cost> {
    let (before, started) = (world.row_count(), clock.monotonic());
    let mut longest = Duration::ZERO;
    for portion in events.chunks(at_once) {
        let begun = clock.monotonic();
        let arrived = world.rooms.receive(&crowd.room_id, portion.to_vec());
        for arrived in arrived.await.context("received")? {
            ensure!(arrived.fate == Fate::Accepted, "{arrived:?}");
        }
        longest = longest.max(clock.monotonic().saturating_sub(begun));
    }
    let rows = world.row_count().since(before);
    let per_event = |rows: u64| rows as f64 / events.len().max(1) as f64;
    Ok(Cost {
        all: clock.monotonic().saturating_sub(started),
        longest,
        read: per_event(rows.read),
        written: per_event(rows.written),
    })
}
