//! A sample of what `cargo xtask graphs` runs, in the engine of the single process.

use hanse_graphs::{Counts, Graph, Storage, Trial, World};

const GRAPHS: u64 = 200;
const WORLDS: u64 = 2;

/// Sabotage: see docs/event-graphs.md, where each is listed with what it makes red.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_state_is_the_references() {
    let mut worlds = Vec::new();
    for order in 0..WORLDS {
        let world = World::for_order(Storage::Embedded, order);
        worlds.push(world.await.unwrap());
    }
    let mut counts = Counts::default();
    for seed in 1..=GRAPHS {
        let graph = Graph::grow(seed).unwrap();
        // Each in one of the worlds.
        let (order, world) = ((seed % WORLDS), &worlds[(seed % WORLDS) as usize]);
        let ran = Trial::run(world, &graph, order).await;
        counts += ran.unwrap_or_else(|error| panic!("{error:#}"));
    }
    eprintln!("{counts}");
    for seen in [
        counts.accepted,
        counts.soft_failed,
        counts.rejected,
        counts.early,
        counts.own,
        counts.refused,
        counts.resolved,
        counts.outliers,
        counts.placed,
        counts.fetched,
        counts.backfilled,
        counts.stateless,
        counts.pruned,
    ] {
        assert!(seen > GRAPHS / 10, "the graphs are too tame: {counts}");
    }
    for world in worlds {
        world.close().await;
    }
}
