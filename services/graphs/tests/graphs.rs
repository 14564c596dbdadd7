//! A sample of what `cargo xtask graphs` runs, in the engine of the single process.

use hanse_graphs::{Counts, Graph, Storage, Trial, World};

const GRAPHS: u64 = 200;
const WORLDS: u64 = 2;
/// Graphs, and the orders in which they were fed, that longer runs found something with.
const FOUND: [(u64, u64); 1] = [(189_009, 0)];

/// Sabotage: see docs/event-graphs.md, where each is listed with what it makes red.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_state_is_the_references() {
    let mut worlds = Vec::new();
    for order in 0..WORLDS {
        let world = World::for_order(Storage::Embedded, order);
        worlds.push(world.await.unwrap());
    }
    let mut counts = Counts::default();
    // Each in one of the worlds.
    let sample = (1..=GRAPHS).map(|seed| (seed, seed % WORLDS));
    for (seed, order) in sample.chain(FOUND) {
        let graph = Graph::grow(seed).unwrap();
        let ran = Trial::run(&worlds[order as usize], &graph, order).await;
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
        counts.pruned_early,
    ] {
        assert!(seen > GRAPHS / 20, "the graphs are too tame: {counts}");
    }
    for world in worlds {
        world.close().await;
    }
}
