//! Effects on slots that other processes serve: there once, whatever happens on the way.

use std::{sync::atomic::Ordering, time::Duration};

use hanse_cluster::HandOver;
use hanse_log::{AppendError, Forward, Slot};
use hanse_proto::log::{Entry, Relay};

use crate::{
    wire::Wire,
    world::{Process, World, entry, eventually, now},
};

/// Most entries that a test relays.
const EFFECTS: usize = 20;

impl Process {
    /// Writes an entry into a slot that is served here, with an effect on the target.
    async fn cause(&self, source: Slot, target: Slot, effect: &str) {
        let relay = Relay {
            key: self.key_of(target),
            entry: Some(entry(effect)),
        };
        let cause = Entry {
            relays: vec![relay],
            ..entry("cause")
        };
        let ticket = self.logs.submit(source, None, vec![cause]).unwrap();
        ticket.applied().await.unwrap();
    }
}

async fn arrives(world: &World, target: Slot, effect: &str) -> Duration {
    eventually("the effect is there", async || {
        world.logged(target).await.iter().any(|key| key == effect)
    })
    .await
}

/// Waits until so many appends were answered; fails if any was not at its first call.
async fn all_answered(process: &Process, count: usize) {
    let mut outcomes = Vec::new();
    eventually("all are answered", async || {
        outcomes.extend(process.link.forward.outcomes());
        outcomes.len() >= count
    })
    .await;
    assert_eq!(outcomes.len(), count, "one call each: {outcomes:?}");
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}

/// A slot changes hands, as in a drain.
pub(crate) async fn move_over(from: &Process, to: &Process, slot: Slot) {
    from.logs.release(slot, &to.id).await;
    let successor = from.live().live[&to.id].clone();
    from.link.hand_over.tell(&successor, &[slot]).await;
    eventually("the successor serves it", async || {
        to.logs.served().contains(&slot)
    })
    .await;
}

/// Red if the way to the owner is not found, or an effect is lost, doubled or overtaken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn effects_reach_a_slot_that_is_served_elsewhere() {
    let world = World::over_grpc(8);
    let (a, b) = tokio::join!(world.start("a"), world.start("b"));
    world.all_served(&[&a, &b]).await;
    let (source, target) = (a.logs.served()[0], b.logs.served()[0]);
    let effects: Vec<_> = (0..EFFECTS).map(|i| format!("effect-{i}")).collect();
    for effect in &effects {
        a.cause(source, target, effect).await;
    }
    let took = arrives(&world, target, effects.last().unwrap()).await;
    println!("the last of {EFFECTS} effects was there {took:?} after its cause");
    assert_eq!(world.logged(target).await, effects);
    assert_eq!(a.link.peers.as_ref().unwrap().open(), 1, "one channel");
    all_answered(&a, EFFECTS).await;
    a.drain().await;
    b.drain().await;
}

/// Red if the owner takes an effect again whose answer was lost: without de-duplication it is there
/// twice, without another try never.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_effect_whose_answer_is_lost_is_there_once() {
    let world = World::by(Wire::proxied(), 8);
    let a = world.start("a").await;
    let b = world.start("b").await;
    world.all_served(&[&a, &b]).await;
    let before_b = world.wire.proxies.lock()[1].clone();
    let (source, target) = (a.logs.served()[0], b.logs.served()[0]);
    before_b.deaf.store(true, Ordering::SeqCst);
    a.cause(source, target, "first").await;
    arrives(&world, target, "first").await;
    assert!(before_b.swallowed.load(Ordering::SeqCst) > 0);
    assert!(a.link.forward.outcomes().is_empty(), "no answer came");
    before_b.deaf.store(false, Ordering::SeqCst);
    before_b.cut();
    a.cause(source, target, "second").await;
    arrives(&world, target, "second").await;
    assert_eq!(before_b.connections.load(Ordering::SeqCst), 2, "cut");
    assert_eq!(world.logged(target).await, ["first", "second"]);
    all_answered(&a, 2).await;
    a.drain().await;
    b.drain().await;
}

/// Red if the next owner does not know what the last one took, or nobody goes to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_effect_whose_answer_is_lost_with_its_owner_is_there_once() {
    let world = World::by(Wire::proxied(), 9);
    let a = world.start("a").await;
    let b = world.start("b").await;
    let c = world.start("c").await;
    world.all_served(&[&a, &b, &c]).await;
    let before_b = world.wire.proxies.lock()[1].clone();
    let (source, target) = (a.logs.served()[0], b.logs.served()[0]);
    before_b.deaf.store(true, Ordering::SeqCst);
    a.cause(source, target, "first").await;
    arrives(&world, target, "first").await;
    move_over(&b, &c, target).await;
    assert!(a.link.forward.outcomes().is_empty(), "no answer came");
    before_b.shut.store(true, Ordering::SeqCst);
    before_b.cut();
    a.cause(source, target, "second").await;
    arrives(&world, target, "second").await;
    assert_eq!(world.logged(target).await, ["first", "second"]);
    all_answered(&a, 2).await;
    before_b.shut.store(false, Ordering::SeqCst);
    for process in [a, b, c] {
        process.drain().await;
    }
}

/// Red if a process does not say who serves the slot, or the caller does not go there at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_effect_goes_on_to_the_owner_that_is_named() {
    let world = World::over_grpc(9);
    let (a, b, c) = tokio::join!(world.start("a"), world.start("b"), world.start("c"));
    world.all_served(&[&a, &b, &c]).await;
    let (source, target) = (a.logs.served()[0], b.logs.served()[0]);
    a.cause(source, target, "known").await;
    arrives(&world, target, "known").await;
    // Without a word to the first: it believes that the second serves it.
    move_over(&b, &c, target).await;
    a.link.forward.outcomes();
    a.cause(source, target, "redirected").await;
    arrives(&world, target, "redirected").await;
    assert_eq!(world.logged(target).await, ["known", "redirected"]);
    all_answered(&a, 1).await;
    assert_eq!(a.link.peers.as_ref().unwrap().open(), 2, "one more channel");
    for process in [a, b, c] {
        process.drain().await;
    }
}

/// Red if an effect waits for ever for one who died, or what it may have taken is taken again; or if
/// the channel to the dead stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_effect_on_a_dead_owners_slot_arrives_at_the_next() {
    let world = World::over_grpc(48);
    let (a, b, c) = tokio::join!(world.start("a"), world.start("b"), world.start("c"));
    world.all_served(&[&a, &b, &c]).await;
    let shares = world.shares(&[&a, &c]);
    let to_c = |slot: &Slot| shares[c.id.as_str()].contains(slot);
    let source = a.logs.served()[0];
    // Of sixteen, one at least.
    let target = b.logs.served().into_iter().find(to_c).unwrap();
    a.cause(source, target, "alive").await;
    arrives(&world, target, "alive").await;
    b.kill();
    let killed = now();
    a.link.forward.outcomes();
    a.cause(source, target, "dead").await;
    arrives(&world, target, "dead").await;
    println!("arrived at the next owner after {:?}", killed.elapsed());
    assert!(c.logs.served().contains(&target));
    assert_eq!(world.logged(target).await, ["alive", "dead"]);
    eventually("it was answered", async || {
        a.link.forward.outcomes().last().is_some_and(Result::is_ok)
    })
    .await;
    // The next owner may have seen the lapse before.
    eventually("only the way to the third is open", async || {
        a.link.peers.as_ref().unwrap().open() == 1
    })
    .await;
    a.drain().await;
    c.drain().await;
}

/// Red if every call that fails is tried twice: those who come for a process in trouble would double
/// what it has to bear.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_tries_are_bounded() {
    const CALLS: usize = 200;
    // A tenth of the calls, and one a second over ten seconds.
    const SECOND_TRIES_MAX: usize = CALLS / 10 + 10;
    let world = World::by(Wire::proxied(), 8);
    let a = world.start("a").await;
    let b = world.start("b").await;
    world.all_served(&[&a, &b]).await;
    let before_b = world.wire.proxies.lock()[1].clone();
    let target = b.logs.served()[0];
    before_b.shut.store(true, Ordering::SeqCst);
    before_b.cut();
    let before = before_b.connections.load(Ordering::SeqCst);
    let forward = std::sync::Arc::clone(&a.link.forward);
    a.run(async move {
        for _ in 0..CALLS {
            let failed = forward.append(target, vec![entry("none")]).await;
            assert!(matches!(failed, Err(AppendError::SlotLost { .. })));
        }
    })
    .await;
    let tried = before_b.connections.load(Ordering::SeqCst) - before;
    println!("{CALLS} calls that fail are {tried} tries");
    assert!(tried > CALLS, "some are tried again");
    assert!(tried <= CALLS + SECOND_TRIES_MAX, "{tried}");
    a.drain().await;
    b.drain().await;
}
