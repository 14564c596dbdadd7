//! Two processes that both believe to own the slots: the store decides (law 2).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hanse_log::{AppendError, OpenError, SlotOwner};
use tokio::sync::Semaphore;

use crate::{
    faults::{Fault, FaultyStore, Write},
    world::{PATIENCE, Process, S0, World, entry},
};

/// Red if an append does not carry the epoch as a condition, or takeover does not raise it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_former_owner_is_refused() {
    let world = World::new();
    let former = world.open().await;
    former.put(S0, "before").await.unwrap();
    let owner = world.open().await;
    let refused = former.put(S0, "fenced").await;
    assert!(matches!(refused, Err(AppendError::SlotLost { .. })));
    assert_eq!(world.times_logged(S0, "fenced").await, 0);
    assert_eq!(world.points("fenced").await.len(), 0);
    // The former owner takes the slot back; the batches between are its own to show.
    former.serves(S0).await;
    let after = former.put(S0, "after").await.unwrap();
    assert_eq!(after.seq(), 2);
    former.finish().await;
    owner.finish().await;
}

/// Red if an append does not carry the epoch, if takeover is unconditional, or if a replay trips
/// over what another owner appends meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_that_fight_leave_one_dense_log() {
    let world = Arc::new(World::new());
    let (one, two) = (world.open().await, world.open().await);
    let stop = AtomicBool::new(false);
    let (written, ()) = tokio::join!(
        async {
            let both = tokio::join!(write(&one, "one", &stop), write(&two, "two", &stop));
            [both.0, both.1]
        },
        watch_epoch(&world, &stop),
    );
    let [(one_keys, one_lost), (two_keys, two_lost)] = written;
    assert!(
        one_lost > 0 && two_lost > 0,
        "both were fenced at least once"
    );
    assert!(!one_keys.is_empty() && !two_keys.is_empty(), "both wrote");
    let log = world.log(S0).await;
    let logged: Vec<_> = log.iter().flat_map(|batch| &batch.keys).collect();
    for key in one_keys.iter().chain(&two_keys) {
        let times = logged.iter().filter(|logged| **logged == key).count();
        assert_eq!(times, 1, "{key}");
        assert_eq!(world.points(key).await.len(), 1, "{key}");
    }
    one.finish().await;
    two.finish().await;
}

/// Writes, a key at a time, never again what may have landed; tells what was acknowledged.
async fn write(process: &Process, name: &str, stop: &AtomicBool) -> (Vec<String>, usize) {
    let (mut acknowledged, mut lost) = (Vec::new(), 0);
    for i in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let key = format!("{name}{i}");
        match process.put(S0, &key).await {
            Ok(_) => acknowledged.push(key),
            Err(AppendError::SlotLost { .. } | AppendError::NotServed { .. }) => lost += 1,
            Err(other) => panic!("{other}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (acknowledged, lost)
}

async fn watch_epoch(world: &World, stop: &AtomicBool) {
    let mut epoch = world.head(S0, 0).await.unwrap()[0];
    let first = epoch.unwrap();
    let rounds = async {
        while epoch.unwrap() < first + 5 {
            let now = world.head(S0, 0).await.unwrap()[0];
            assert!(now >= epoch, "an epoch never goes down");
            epoch = now;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let fought = tokio::time::timeout(PATIENCE, rounds).await;
    stop.store(true, Ordering::SeqCst);
    assert!(fought.is_ok(), "they did not fight");
}

/// Red if a claim is not conditional on the row as it was observed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_on_an_old_row_is_refused() {
    let world = World::new();
    let (slower, newer) = (world.start().await, world.start().await);
    let observed = slower.logs.owner(S0).await.unwrap();
    assert_eq!(observed, SlotOwner::default());
    newer.logs.serve(S0, &observed).await.unwrap();
    let late = slower.logs.serve(S0, &observed).await;
    assert!(matches!(late, Err(OpenError::Contended { slot: S0 })));
    newer.put(S0, "a").await.unwrap();
    assert_eq!(world.head(S0, 0).await.unwrap()[0], Some(1));
    assert!(slower.logs.served().is_empty());
    slower.finish().await;
    newer.finish().await;
}

/// Red if a claim that was not written is not made again under its epoch, or if one that landed in
/// doubt is taken for ours by the name in the row: a former owner of that epoch may have put it there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_in_doubt_is_settled() {
    for (fault, times, epoch) in [(Fault::UnknownLost, 3, 1), (Fault::UnknownLanded, 1, 2)] {
        let world = World::new();
        let process = world.start().await;
        let hits = world.faults.arm(Write::Claim, 0, fault, times);
        let observed = process.logs.owner(S0).await.unwrap();
        let served = process.logs.serve(S0, &observed).await;
        assert_eq!(hits.count(), times);
        if let Err(error) = served {
            assert!(
                matches!(error, OpenError::Contended { slot: S0 }),
                "{error}"
            );
            let observed = process.logs.owner(S0).await.unwrap();
            process.logs.serve(S0, &observed).await.unwrap();
        }
        assert_eq!(process.logs.owner(S0).await.unwrap().epoch, epoch);
        process.put(S0, "a").await.unwrap();
        process.finish().await;
    }
}

/// Red if an owner whose claim was overtaken before it took the log takes it all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_is_void_before_it_serves_does_not_serve() {
    let world = World::new();
    let slower = world.start().await;
    let observed = slower.logs.owner(S0).await.unwrap();
    let gate = Arc::new(Semaphore::new(0));
    let held = Fault::Held(Arc::clone(&gate));
    let hits = world.faults.arm(Write::TakeOver, 0, held, 1);
    let overtake = async {
        hits.reach(1).await;
        let store = FaultyStore::over(Arc::clone(&world.embedded));
        let newer = world.start_on(&store).await;
        let observed = newer.logs.owner(S0).await.unwrap();
        assert_eq!(observed.epoch, 1, "the slower one has claimed it");
        newer.logs.serve(S0, &observed).await.unwrap();
        gate.add_permits(1);
        newer
    };
    let (served, newer) = tokio::join!(slower.logs.serve(S0, &observed), overtake);
    assert!(matches!(served, Err(OpenError::Contended { slot: S0 })));
    newer.put(S0, "a").await.unwrap();
    newer.finish().await;
    slower.finish().await;
    assert_eq!(world.checkpoint(S0).await, 1);
}

/// Red if a release leaves something that was taken unapplied, or the next owner something to
/// replay, or the row in the former owner's name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_released_slot_is_handed_on_whole() {
    let world = World::new();
    let (former, next) = (world.start().await, world.start().await);
    let observed = former.logs.owner(S0).await.unwrap();
    former.logs.serve(S0, &observed).await.unwrap();
    let tickets: Vec<_> = (0..100)
        .map(|i| former.logs.submit(S0, None, vec![entry(format!("k{i}"))]))
        .collect();
    former.logs.release(S0, "next").await;
    for ticket in tickets {
        ticket.unwrap().applied().await.unwrap();
    }
    let refused = former.put(S0, "late").await;
    assert!(matches!(refused, Err(AppendError::NotServed { .. })));
    let observed = next.logs.owner(S0).await.unwrap();
    assert_eq!((observed.owner.as_str(), observed.epoch), ("next", 1));
    let tail = world.log(S0).await.last().unwrap().seq;
    assert_eq!(world.checkpoint(S0).await, tail);
    next.logs.serve(S0, &observed).await.unwrap();
    assert_eq!(next.put(S0, "next").await.unwrap().seq(), tail + 1);
    former.finish().await;
    next.finish().await;
}
