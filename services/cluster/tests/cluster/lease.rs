//! Processes that are frozen, cut off, or in doubt.

use std::{sync::atomic::Ordering, time::Duration};

use hanse_cluster::timing::{HELD_FOR, TTL};
use hanse_log::AppendError;

use crate::world::{PATIENCE, World, eventually, now};

fn is_lost<T>(answer: &Result<T, AppendError>) -> bool {
    matches!(
        answer,
        Err(AppendError::SlotLost { .. } | AppendError::NotServed { .. })
    )
}

/// Red if a process that wakes up goes on with a lease that has lapsed, if the store takes an append
/// that was under way when it fell asleep, or if it keeps believing in slots that others took.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_member_does_not_accept_and_is_fenced() {
    let world = World::new(16);
    let (a, b) = tokio::join!(world.start("a"), world.start("b"));
    world.all_served(&[&a, &b]).await;
    let share = b.logs.served();
    let slot = share[0];
    b.put(slot, "before").await.unwrap();
    // Past the check of the lease, and not in the store yet.
    let gate = b.way.hold_appends();
    let under_way = b.submit(slot, "zombie").unwrap();
    eventually("the append is under way", async || {
        b.way.appends_held.load(Ordering::SeqCst) == 1
    })
    .await;
    let thaw = b.freeze().await;
    let frozen = now();
    let last = tokio::time::timeout(PATIENCE, async {
        while b.submit(slot, "asleep").is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        frozen.elapsed()
    });
    let last = last.await.expect("it accepts for ever");
    assert!(
        last < HELD_FOR + Duration::from_millis(500),
        "accepted until {last:?}"
    );
    assert!(a.logs.served().len() < 16, "nobody took anything before");
    eventually("the other serves everything", async || {
        a.logs.served().len() == 16
    })
    .await;
    let taken = frozen.elapsed();
    println!("frozen: accepted for {last:?}, taken after {taken:?}");
    assert!(taken < TTL + Duration::from_secs(2), "{taken:?}");
    a.put(slot, "after").await.unwrap();
    drop(thaw);
    gate.add_permits(100);
    let zombie = tokio::time::timeout(PATIENCE, under_way).await.unwrap();
    assert!(is_lost(&zombie), "{zombie:?}");
    let back = eventually("it is back, and serves nothing", async || {
        b.membership.lease().is_held() && b.logs.served().is_empty()
    });
    println!("thawed: knows what it lost after {:?}", back.await);
    assert_eq!(world.logged(slot).await, ["before", "after"]);
    eventually("it is seen again", async || {
        a.live().live.contains_key(&b.id)
    })
    .await;
    assert_eq!(
        a.logs.served().len(),
        16,
        "it asks for its share only later"
    );
    a.drain().await;
    b.drain().await;
}

/// Red if a process that cannot renew accepts for as long as others think that it lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_cut_off_stops_before_it_is_replaced() {
    let world = World::new(16);
    let (a, b) = tokio::join!(world.start("a"), world.start("b"));
    world.all_served(&[&a, &b]).await;
    let slot = b.logs.served()[0];
    b.way.cut.store(true, Ordering::SeqCst);
    let cut = now();
    let stopped = eventually("it stops", async || is_lost(&b.submit(slot, "cut"))).await;
    assert!(!a.logs.served().contains(&slot));
    eventually("the other serves everything", async || {
        a.logs.served().len() == 16
    })
    .await;
    println!(
        "cut off: stopped after {stopped:?}, taken after {:?}",
        cut.elapsed()
    );
    assert!(cut.elapsed() < TTL + Duration::from_secs(2));
    b.way.cut.store(false, Ordering::SeqCst);
    eventually("it is back, and serves nothing", async || {
        b.membership.lease().is_held() && b.logs.served().is_empty()
    })
    .await;
    a.drain().await;
    b.drain().await;
}

/// Red if a renewal in doubt ends the lease, or is repeated in a way that the store refuses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals_in_doubt_keep_the_lease() {
    let world = World::new(4);
    let (a, b) = tokio::join!(world.start("a"), world.start("b"));
    world.all_served(&[&a, &b]).await;
    b.way.doubtful.store(true, Ordering::SeqCst);
    let begun = now();
    while begun.elapsed() < TTL * 2 {
        assert!(b.membership.lease().is_held());
        assert!(a.live().live.contains_key(&b.id));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(world.rows().await.values().all(|row| row.epoch == 1));
    a.drain().await;
    b.drain().await;
}

/// Red if the lease counts from when the answer came: others count from when the renewal landed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_answer_gives_no_longer_a_lease() {
    let world = World::new(4);
    let a = world.start("a").await;
    world.all_served(&[&a]).await;
    a.way.answer_ms.store(1_200, Ordering::SeqCst);
    let landed = || *a.way.landed.lock();
    // One more lands, is answered slowly, and is the last.
    let before = landed();
    eventually("one lands", async || landed() != before).await;
    let last = landed().unwrap();
    a.way.mute.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(a.membership.lease().is_held());
    eventually("the lease ends", async || !a.membership.lease().is_held()).await;
    let held = last.elapsed();
    println!("an answer after 1.2 s gives a lease of {held:?} since the renewal landed");
    assert!(held < HELD_FOR + Duration::from_millis(500), "{held:?}");
    a.way.mute.store(false, Ordering::SeqCst);
    a.drain().await;
}
