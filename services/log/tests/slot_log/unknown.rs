//! Appends whose outcome is not known (law 3).

use hanse_log::{AppendError, Slot};

use crate::{
    faults::{Fault, Write},
    world::{S0, S1, World},
};

/// Red if a refusal after a doubt is taken for `Lost` (`whose` not asked), or if a doubt is
/// settled by writing the batch again at the next place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_append_that_landed_is_there_once() {
    settles(Fault::UnknownLanded, 1).await;
    settles(Fault::UnknownLanded, 3).await;
}

/// Red if `decide` answers after a doubt without proposing again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_append_that_did_not_land_is_proposed_again() {
    settles(Fault::UnknownLost, 1).await;
    settles(Fault::UnknownLost, 3).await;
}

async fn settles(fault: Fault, times: usize) {
    let world = World::new();
    let process = world.open().await;
    let before = process.put(S0, "before").await.unwrap();
    let hits = world.faults.arm(Write::Append, 0, fault, times);
    let doubted = process.put(S0, "doubted").await.unwrap();
    let after = process.put(S0, "after").await.unwrap();
    assert_eq!(hits.count(), times);
    assert_eq!(doubted.seq(), before.seq() + 1);
    assert_eq!(after.seq(), doubted.seq() + 1);
    assert_eq!(world.points("doubted").await, [doubted.packed()]);
    assert_eq!(world.times_logged(S0, "doubted").await, 1);
    process.finish().await;
}

/// Red if a slot that is given up does not open again, if what landed is not replayed, or if the
/// doubt is answered with success.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_doubt_that_stays_gives_the_slot_up_and_it_opens_again() {
    let world = World::new();
    let process = world.open().await;
    let landed = world.faults.arm(Write::Append, 0, Fault::UnknownLanded, 1);
    let landed_then = world.faults.arm(Write::Append, 0, Fault::UnknownLost, 7);
    let never = world.faults.arm(Write::Append, 1, Fault::UnknownLost, 8);
    let put = |slot: Slot| process.put(slot, if slot == S0 { "landed" } else { "never" });
    let (first, second) = tokio::join!(put(S0), put(S1));
    assert!(matches!(first, Err(AppendError::SlotLost { slot: S0 })));
    assert!(matches!(second, Err(AppendError::SlotLost { slot: S1 })));
    assert_eq!(landed.count() + landed_then.count(), 8);
    assert_eq!(never.count(), 8);

    process.serves(S0).await;
    process.serves(S1).await;
    assert_eq!(world.points("landed").await.len(), 1);
    assert_eq!(world.times_logged(S0, "landed").await, 1);
    assert_eq!(world.points("never").await.len(), 0);
    assert_eq!(world.times_logged(S1, "never").await, 0);
    assert_eq!(process.put(S0, "next").await.unwrap().seq(), 2);
    assert_eq!(process.put(S1, "next").await.unwrap().seq(), 1);
    process.finish().await;
}
