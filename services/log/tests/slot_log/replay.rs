//! Replay writes what was written.

use std::time::Duration;

use crate::{
    faults::{Fault, Write},
    world::{Process, S0, World, entry},
};

type Dump = Vec<(&'static str, Vec<u8>, Vec<u8>)>;

const ENTRIES: usize = 200;

/// From here on the checkpoint stays where it is, however slow the machine.
fn stop_checkpoint(world: &World) {
    let times = usize::MAX;
    world
        .faults
        .arm(Write::Checkpoint, 0, Fault::Unavailable, times);
}

/// Writes the same in every world: each key several times, so that stamps decide which is last.
async fn write(world: &World) -> Process {
    stop_checkpoint(world);
    let process = world.open().await;
    for i in 0..ENTRIES {
        let passed = 1 + 997 * (i as u64 % 3);
        world.clock.advance(Duration::from_micros(passed));
        let entry = entry(format!("k{}", i % 7));
        process.put_entry(S0, entry).await.unwrap();
    }
    process
}

/// The archives after an abrupt end and a replay long after.
async fn replayed(world: &World) -> Dump {
    world.clock.advance(Duration::from_hours(24));
    assert_eq!(world.checkpoint(S0).await, 0, "all of it is replayed");
    world.faults.disarm();
    world.open().await.finish().await;
    world.dump()
}

/// Red if replay takes stamps from the clock instead of the log, in another order, or leaves a
/// batch out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_writes_the_same_rows_with_the_same_stamps() {
    let kept = World::new();
    let process = write(&kept).await;
    let written = kept.dump();
    process.kill().await;
    assert!(written.len() >= ENTRIES, "there is something to compare");
    assert_eq!(replayed(&kept).await, written, "over what was there");

    // The same, but every row of the archives is lost with the process.
    let emptied = World::new();
    let lost = emptied
        .faults
        .arm(Write::Rows, 0, Fault::Swallowed, usize::MAX);
    let process = write(&emptied).await;
    process.kill().await;
    assert_eq!(lost.count(), ENTRIES);
    assert_eq!(emptied.dump(), Dump::new());
    assert_eq!(replayed(&emptied).await, written, "into nothing");
}

/// Red if a replay starts at the checkpoint's segment only, or reads one page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_goes_through_many_pages_and_segments() {
    let world = World::new();
    stop_checkpoint(&world);
    let process = world.open_small(200).await;
    for i in 0..150 {
        process.put(S0, &format!("k{i}")).await.unwrap();
    }
    let written = world.dump();
    process.kill().await;
    let log = world.log(S0).await;
    assert!(log.last().unwrap().segment >= 3, "several segments");
    assert_eq!(world.checkpoint(S0).await, 0, "all of it is replayed");
    let process = world.open_small(200).await;
    assert_eq!(process.put(S0, "next").await.unwrap().seq(), 151);
    process.finish().await;
    let again: Vec<_> = world.dump();
    assert!(written.iter().all(|row| again.contains(row)));
}
