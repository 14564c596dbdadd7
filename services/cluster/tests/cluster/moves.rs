//! Processes that come, go and die.

use std::{sync::atomic::Ordering, time::Duration};

use hanse_cluster::timing::{SETTLE, TTL};
use hanse_log::Slot;

use crate::world::{Process, World, eventually, now};

/// Writes into every slot, wherever it is served, and keeps what was acknowledged.
#[derive(Default)]
struct Writer {
    count: usize,
    acknowledged: Vec<(Slot, String)>,
}

impl Writer {
    /// One entry for each slot; what nobody takes now is left out.
    async fn round(&mut self, world: &World, processes: &[&Process]) {
        for slot in world.all() {
            self.count += 1;
            let key = format!("k{}", self.count);
            for process in processes {
                if process.put(slot, &key).await.is_ok() {
                    self.acknowledged.push((slot, key.clone()));
                    break;
                }
            }
        }
    }

    async fn check(&self, world: &World) {
        for slot in world.all() {
            let logged = world.logged(slot).await;
            let mut of_slot = self.acknowledged.iter().filter(|(of, _)| *of == slot);
            let lost = of_slot.find(|(_, key)| !logged.contains(key));
            assert_eq!(lost, None, "acknowledged, and lost");
        }
    }
}

/// Red if a keeper that begins when the members are known already waits until they change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeper_may_begin_late() {
    let mut world = World::new(4);
    world.keeper_after = Duration::from_millis(2_500);
    let a = world.start("a").await;
    world.all_served(&[&a]).await;
    a.drain().await;
}

/// Red if a process takes slots before it has looked who else is there: the first would take all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_start_at_once_share_the_slots() {
    let world = World::new(32);
    let begun = now();
    let a = world.start("a").await;
    // As two pods do that are rolled out together.
    tokio::time::sleep(Duration::from_millis(800)).await;
    let b = world.start("b").await;
    world.all_served(&[&a, &b]).await;
    println!("two processes share 32 slots after {:?}", begun.elapsed());
    assert!(begun.elapsed() < SETTLE + Duration::from_secs(3));
    let shares = world.shares(&[&a, &b]);
    for process in [&a, &b] {
        assert_eq!(process.logs.served(), shares[process.id.as_str()]);
    }
    assert_eq!(world.wire.watch.asked.load(Ordering::SeqCst), 0);
    assert!(world.rows().await.values().all(|row| row.epoch == 1));
    a.drain().await;
    b.drain().await;
}

/// Red if nobody takes the slots of one who died, one who lives loses any by it, or what was
/// acknowledged is not there afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_members_slots_are_taken_within_the_ttl_and_two_seconds() {
    let world = World::new(32);
    let (a, b, c) = tokio::join!(world.start("a"), world.start("b"), world.start("c"));
    world.all_served(&[&a, &b, &c]).await;
    let mut writer = Writer::default();
    writer.round(&world, &[&a, &b, &c]).await;
    let before = world.rows().await;
    let dead = c.id.clone();
    let killed = now();
    c.kill();
    world.all_served(&[&a, &b]).await;
    let taken = killed.elapsed();
    println!("the slots of a killed member serve again after {taken:?}");
    assert!(taken < TTL + Duration::from_secs(2), "{taken:?}");
    let shares = world.shares(&[&a, &b]);
    for (slot, row) in world.rows().await {
        let then = &before[&slot];
        if then.owner == dead {
            assert!(shares[row.owner.as_str()].contains(&slot));
            assert_eq!(row.epoch, then.epoch + 1, "taken once");
        } else {
            assert_eq!(row, *then, "who lives keeps what it has");
        }
    }
    writer.round(&world, &[&a, &b]).await;
    assert_eq!(writer.acknowledged.len(), 64);
    writer.check(&world).await;
    assert!(!a.live().live.contains_key(&dead));
    a.drain().await;
    b.drain().await;
}

/// Red if a drain names nobody, gives up its lease before its slots, or leaves its row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_members_slots_are_taken_at_once() {
    drain(World::new(32)).await;
}

/// The same over sockets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_members_slots_are_taken_at_once_over_grpc() {
    drain(World::over_grpc(32)).await;
}

async fn drain(world: World) {
    let (a, b, c) = tokio::join!(world.start("a"), world.start("b"), world.start("c"));
    world.all_served(&[&a, &b, &c]).await;
    let mut writer = Writer::default();
    writer.round(&world, &[&a, &b, &c]).await;
    let (gone, share) = (c.id.clone(), c.logs.served());
    // What was taken before the drain is still appended: one batch that is under way in each slot,
    // and one behind it, for which the lease is needed while the process drains.
    let gate = c.way.hold_appends();
    let first: Vec<_> = share.iter().map(|slot| c.submit(*slot, "first")).collect();
    eventually("each slot has one under way", async || {
        c.way.appends_held.load(Ordering::SeqCst) == share.len()
    })
    .await;
    let last: Vec<_> = share.iter().map(|slot| c.submit(*slot, "last")).collect();
    let begun = now();
    let taken = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        gate.add_permits(10_000);
        world.all_served(&[&a, &b]).await;
        begun.elapsed()
    };
    let (took, ()) = tokio::join!(taken, c.drain());
    println!("the slots of a drained member serve again after {took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    for (key, waiting) in [("first", first), ("last", last)] {
        for (slot, applied) in share.iter().zip(waiting) {
            applied.unwrap().await.unwrap();
            writer.acknowledged.push((*slot, key.to_owned()));
        }
    }
    let shares = world.shares(&[&a, &b]);
    for slot in share {
        let row = world.row(slot).await;
        assert!(shares[row.owner.as_str()].contains(&slot));
    }
    let noticed = eventually("its row is gone", async || {
        !a.live().live.contains_key(&gone) && !b.live().live.contains_key(&gone)
    });
    assert!(
        noticed.await < Duration::from_secs(2),
        "the row was left to lapse"
    );
    writer.round(&world, &[&a, &b]).await;
    writer.check(&world).await;
    a.drain().await;
    b.drain().await;
}

/// Red if those to whom slots are handed are not told, or do not take what names them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_does_not_need_the_members_to_notice() {
    quiet_drain(World::new(16)).await;
}

/// The same over sockets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_does_not_need_the_members_to_notice_over_grpc() {
    quiet_drain(World::over_grpc(16)).await;
}

async fn quiet_drain(world: World) {
    let (a, b) = tokio::join!(world.start("a"), world.start("b"));
    world.all_served(&[&a, &b]).await;
    // Neither that it drains nor that it departs gets through.
    b.way.mute.store(true, Ordering::SeqCst);
    let begun = now();
    let (took, ()) = tokio::join!(
        async {
            world.all_served(&[&a]).await;
            begun.elapsed()
        },
        b.drain()
    );
    println!("handed over without a word in the table after {took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(a.live().live.len(), 2);
    a.drain().await;
}

/// Red if a newcomer takes slots by force, several at once or before their time, or if slots that do
/// not move are touched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_third_gets_about_a_third_one_at_a_time() {
    third(World::new(24)).await;
}

/// The same over sockets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_third_gets_about_a_third_one_at_a_time_over_grpc() {
    third(World::over_grpc(24)).await;
}

async fn third(world: World) {
    let stay = Duration::from_secs(5);
    let (a, b) = tokio::join!(world.start_with("a", stay), world.start_with("b", stay));
    world.all_served(&[&a, &b]).await;
    let served_since = now();
    let before = world.rows().await;
    let c = world.start_with("c", stay).await;
    let shares = world.shares(&[&a, &b, &c]);
    let mut writer = Writer::default();
    let mut first_at = None;
    eventually("the third has its share", async || {
        writer.round(&world, &[&a, &b, &c]).await;
        if first_at.is_none() && !world.wire.watch.moved.lock().is_empty() {
            first_at = Some(served_since.elapsed());
        }
        c.logs.served() == shares[c.id.as_str()]
    })
    .await;
    world.all_served(&[&a, &b, &c]).await;
    let moved = world.wire.watch.moved.lock().clone();
    println!(
        "{} of 24 slots moved, the first after {first_at:?}",
        moved.len()
    );
    assert_eq!(moved.len(), shares[c.id.as_str()].len());
    assert!(first_at.unwrap() > stay * 9 / 10, "not before its time");
    assert_eq!(world.wire.watch.asking_max.load(Ordering::SeqCst), 1);
    for (slot, row) in world.rows().await {
        let then = &before[&slot];
        if moved.contains(&slot) {
            assert_eq!((&row.owner, row.epoch), (&c.id, then.epoch + 1));
        } else {
            assert_eq!(row, *then, "what does not move is not touched");
        }
    }
    writer.check(&world).await;
    for process in [a, b, c] {
        process.drain().await;
    }
}
