//! What a cluster costs that does nothing.

use std::time::Duration;

use crate::world::{World, now};

const PROCESSES: usize = 10;
const STATEMENTS_PER_SECOND_MAX: f64 = 50.0;

/// Red if anything idle asks the store more often than it must.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_processes_and_256_slots_cost_at_most_fifty_statements_a_second() {
    let world = World::new(256);
    let starting = (0..PROCESSES).map(|i| {
        let (world, name) = (&world, format!("p{i}"));
        async move { world.start(&name).await }
    });
    let processes = futures::future::join_all(starting).await;
    let all: Vec<_> = processes.iter().collect();
    world.all_served(&all).await;
    // Checkpoints and cursors of the start.
    tokio::time::sleep(Duration::from_secs(4)).await;
    world.counts.take();
    let begun = now();
    tokio::time::sleep(Duration::from_secs(20)).await;
    let (counts, seconds) = (world.counts.take(), begun.elapsed().as_secs_f64());
    let total: usize = counts.values().sum();
    let per_second = f64::from(u32::try_from(total).unwrap()) / seconds;
    println!("idle: {per_second:.1} statements/s: {counts:?} in {seconds:.1} s");
    assert!(per_second <= STATEMENTS_PER_SECOND_MAX, "{per_second}");
    assert!(counts.contains_key("conditional members"), "it counts");
    world.all_served(&all).await;
    for process in processes {
        process.kill();
    }
}
