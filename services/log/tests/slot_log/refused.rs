//! Batches of which the store says that they were not written.

use hanse_log::AppendError;
use hanse_store::StoreError;

use crate::{
    faults::{Fault, Write},
    world::{S0, World, entry},
};

/// Red if `void` does not start a new generation, or if the refused rows are applied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_was_not_written_voids_what_was_decided_on_it() {
    for fault in [Fault::Full, Fault::Unavailable] {
        let world = World::new();
        let process = world.open().await;
        let full = matches!(fault, Fault::Full);
        let basis = process.logs.basis(S0).unwrap();
        let submit = |basis, key: &str| process.logs.submit(S0, Some(basis), vec![entry(key)]);
        let good = submit(basis, "good").unwrap().applied().await.unwrap();
        let hits = world.faults.arm(Write::Append, 0, fault, 1);
        let refused = submit(basis, "refused").unwrap().applied().await;
        let Err(AppendError::Store(source)) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(full, matches!(*source, StoreError::Full));
        assert_eq!(hits.count(), 1);

        let stale = submit(basis, "stale").unwrap().applied().await;
        assert!(matches!(stale, Err(AppendError::Stale)));
        let anew = process.logs.basis(S0).unwrap();
        assert_ne!(anew, basis);
        let again = submit(anew, "again").unwrap().applied().await.unwrap();
        assert_eq!(again.seq(), good.seq() + 1);
        for key in ["refused", "stale"] {
            assert_eq!(world.points(key).await.len(), 0);
            assert_eq!(world.times_logged(S0, key).await, 0);
        }
        process.finish().await;
    }
}

/// Red if the rows of a batch are written once only, or if a slot whose rows cannot be written
/// stays served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_cannot_be_written_are_replayed() {
    let world = World::new();
    let process = world.open().await;
    let passing = world.faults.arm(Write::Rows, 0, Fault::Unavailable, 3);
    process.put(S0, "passing").await.unwrap();
    assert_eq!(passing.count(), 3);
    assert_eq!(world.points("passing").await.len(), 1);

    let lasting = world.faults.arm(Write::Rows, 0, Fault::Unavailable, 8);
    let lost = process.put(S0, "lasting").await;
    assert!(matches!(lost, Err(AppendError::SlotLost { .. })));
    assert_eq!(lasting.count(), 8);
    process.serves(S0).await;
    assert_eq!(world.points("lasting").await.len(), 1);
    assert_eq!(world.times_logged(S0, "lasting").await, 1);
    process.finish().await;
}
