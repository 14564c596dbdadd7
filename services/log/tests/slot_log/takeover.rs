//! Two processes that both believe to own the slots: the store decides (law 2).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hanse_log::{AppendError, OpenError};
use tokio::sync::Semaphore;

use crate::{
    faults::{Fault, FaultyStore, Write},
    world::{PATIENCE, Process, S0, World, eventually},
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
            Err(AppendError::SlotLost { .. }) => lost += 1,
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

/// Red if the outcome of entering the owner's epoch is not looked at: the checkpoint of the slot's
/// owner then never moves again (it did not).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_enters_its_epoch_after_a_slower_one() {
    let world = World::new();
    world.open().await.finish().await;
    let stores = [(); 2].map(|()| FaultyStore::over(Arc::clone(&world.embedded)));
    let gates = [(); 2].map(|()| Arc::new(Semaphore::new(0)));
    let hits: Vec<_> = stores
        .iter()
        .zip(&gates)
        .map(|(store, gate)| {
            let held = Fault::Held(Arc::clone(gate));
            store.arm(Write::EnterOwner, 0, held, 1)
        })
        .collect();
    let slower = world.try_open(&stores[0]);
    let newer = world.try_open(&stores[1]);
    let order = async {
        hits[0].reach(1).await;
        let taken = async {
            hits[1].reach(1).await;
            gates[0].add_permits(1);
            // The slower one enters an epoch that is void by now.
            tokio::time::sleep(Duration::from_millis(100)).await;
            gates[1].add_permits(1);
        };
        tokio::join!(newer, taken).0
    };
    let (slower, newer) = tokio::join!(slower, order);
    let (slower, newer) = (slower.unwrap(), newer.unwrap());
    newer.put(S0, "a").await.unwrap();
    eventually("the checkpoint moves", async || {
        world.checkpoint(S0).await == 1
    })
    .await;
    slower.finish().await;
    newer.finish().await;
}

/// Red if an owner that finds a newer epoch in the slot's row serves all the same, or lowers it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_is_void_before_it_serves_does_not_serve() {
    let world = World::new();
    world.open().await.finish().await;
    let gate = Arc::new(Semaphore::new(0));
    let held = Fault::Held(Arc::clone(&gate));
    let hits = world.faults.arm(Write::EnterOwner, 0, held, 1);
    let overtake = async {
        hits.reach(1).await;
        let newer = FaultyStore::over(Arc::clone(&world.embedded));
        let newer = world.try_open(&newer).await.unwrap();
        gate.add_permits(1);
        newer
    };
    let (slower, newer) = tokio::join!(world.try_open(&world.faults), overtake);
    assert!(matches!(slower.err(), Some(OpenError::Contended { .. })));
    newer.put(S0, "a").await.unwrap();
    newer.finish().await;
    assert_eq!(world.checkpoint(S0).await, 1);
}
