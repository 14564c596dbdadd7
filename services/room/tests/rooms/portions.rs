//! Events that change more than one batch of the log holds.

use std::collections::BTreeSet;

use hanse_event::Received;
use hanse_log::Position;
use hanse_room::Fate;
use ruma::{OwnedEventId, OwnedUserId};
use serde_json::json;

use crate::{
    elsewhere::{Branch, member, message, remote, state},
    world::World,
};

/// A room in which Bob may do much, and then does: so many keys.
struct Flood {
    /// Before he begins.
    calm: Branch,
    flooded: Branch,
    /// The room with Bob in it, and what he does.
    opening: Vec<Received>,
    keys: Vec<Received>,
}

impl Flood {
    fn of(keys: usize) -> Self {
        let (ann, bob) = (remote("ann"), remote("bob"));
        let (mut calm, mut opening) = Branch::new(&ann);
        opening.push(calm.send(member(&bob, "join")));
        let levels = json!({ "users": { ann.as_str(): 100, bob.as_str(): 50 } });
        opening.push(calm.send(state(&ann, "m.room.power_levels", "", &levels)));
        let mut flooded = calm.clone();
        let flood = (0..keys).map(|number| flooded.send(key(&bob, "flood", number)));
        Self {
            keys: flood.collect(),
            calm,
            flooded,
            opening,
        }
    }

    /// Has it all happen.
    async fn run(&self, world: &World) {
        for events in [&self.opening, &self.keys] {
            receive(world, &self.calm, events).await;
        }
    }

    /// How many of Bob's keys the current state has.
    async fn left(&self, world: &World) -> usize {
        let state = world.reader().plain_state(&self.calm.room, Position::END);
        let state = state.await.unwrap();
        state
            .iter()
            .filter(|held| held.event_type == "flood")
            .count()
    }

    /// How often Bob's keys have changed.
    async fn changes(&self, world: &World) -> usize {
        let (start, end) = (Position::BEGINNING, Position::END);
        let all = world.reader().state_changes(&self.calm.room, start, end);
        let all = all.await.unwrap();
        all.iter()
            .filter(|change| change.event_type == "flood")
            .count()
    }
}

fn key(sender: &OwnedUserId, event_type: &str, number: usize) -> hanse_event::Draft {
    state(sender, event_type, &number.to_string(), &json!({}))
}

async fn receive(world: &World, branch: &Branch, events: &[Received]) {
    for events in events.chunks(hanse_room::RECEIVED_MAX) {
        let arrived = world.rooms.receive(&branch.room, events.to_vec());
        for arrived in arrived.await.unwrap() {
            assert!(
                matches!(arrived.fate, Fate::Accepted | Fate::Known),
                "{arrived:?}"
            );
        }
    }
}

fn ban(branch: &Branch) -> Received {
    let bob = remote("bob");
    let content = json!({ "membership": "ban" });
    branch.clone().send(state(
        &remote("ann"),
        "m.room.member",
        bob.as_str(),
        &content,
    ))
}

async fn is_resolving(world: &World, branch: &Branch) -> bool {
    let head = world.reader().head(&branch.room).await.unwrap();
    head.unwrap().head.resolving
}

/// Sabotage: put all changes into one batch (it is refused as too large), or leave the room's head
/// as one that is being resolved.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ban_that_was_not_seen_takes_away_more_than_a_batch_holds() {
    let world = World::new().await;
    let flood = Flood::of(1_500);
    flood.run(&world).await;
    assert_eq!(flood.left(&world).await, 1_500);
    let before = world
        .reader()
        .head(&flood.calm.room)
        .await
        .unwrap()
        .unwrap();
    let ban = ban(&flood.calm);
    receive(&world, &flood.calm, std::slice::from_ref(&ban)).await;
    assert_eq!(flood.left(&world).await, 0);
    assert!(!is_resolving(&world, &flood.calm).await);
    let changes = world
        .reader()
        .state_changes(&flood.calm.room, before.position, Position::END);
    let changes = changes.await.unwrap();
    assert_eq!(changes.len(), 1 + 1_500);
    let batches: BTreeSet<i64> = changes.iter().map(|change| change.position.seq()).collect();
    assert!(batches.len() > 2, "it all went into {batches:?}");
    // Nobody who follows Bob's last event alone has his keys either.
    let ann = remote("ann");
    let mut late = flood.flooded.clone();
    let said = late.send(message(&ann, "what was that?"));
    receive(&world, &flood.calm, &[said]).await;
    let world = world.reopen().await;
    assert_eq!(flood.left(&world).await, 0);
    world.close().await;
}

/// Both sides of a fork set many keys, and an event brings them together: what differs from either
/// side is more than the event's own entry holds.
///
/// Sabotage: leave the values of a large node in the event's entry, read them from under the event's
/// id alone, or write the last portion only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_differs_by_more_than_a_batch_is_kept() {
    let world = World::new().await;
    let flood = Flood::of(900);
    flood.run(&world).await;
    let ann = remote("ann");
    let mut other = flood.calm.clone();
    let others: Vec<Received> = (0..1_000)
        .map(|n| other.send(key(&ann, "other", n)))
        .collect();
    receive(&world, &flood.calm, &others).await;
    let mut both = other.clone();
    both.state.extend(flood.flooded.state.clone());
    let merge = both.send_after(
        message(&ann, "together again"),
        &[&other.last, &flood.flooded.last],
    );
    receive(&world, &flood.calm, std::slice::from_ref(&merge)).await;
    let next = both.send(message(&ann, "and on"));
    receive(&world, &flood.calm, std::slice::from_ref(&next)).await;
    let world = world.reopen().await;
    for event in [&merge, &next] {
        let state = world
            .reader()
            .state_after(&flood.calm.room, event.pdu.event_id());
        let held: BTreeSet<OwnedEventId> = state.await.unwrap().unwrap().into_values().collect();
        let expected: BTreeSet<OwnedEventId> = both.told().into_iter().collect();
        assert_eq!(held.len(), expected.len());
        assert!(held == expected);
    }
    world.close().await;
}

/// Sabotage: do not say in the event's entry that changes follow, or in those that end a batch how far
/// they came (what was written is written again).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_two_batches_is_made_good_by_whoever_comes_next() {
    let flood = Flood::of(40);
    let (mut half_way, mut whole) = (0, 0);
    for appends in 1..14 {
        let world = World::in_portions_of(700).await;
        flood.run(&world).await;
        let ban = ban(&flood.calm);
        world.probe.die_at_append(appends, appends % 2 == 0);
        let banning = vec![ban.clone()];
        tokio::select! {
            arrived = world.rooms.receive(&flood.calm.room, banning) => drop(arrived.unwrap()),
            () = world.probe.dead() => {}
        }
        let world = world.crash().await;
        if is_resolving(&world, &flood.calm).await {
            assert!(flood.left(&world).await > 0);
            half_way += 1;
        } else {
            whole += 1;
        }
        // An event of our own, or the same again.
        let mut late = flood.calm.clone();
        let next = if appends % 3 == 0 {
            late.send(message(&remote("ann"), "well"))
        } else {
            ban.clone()
        };
        receive(&world, &flood.calm, &[next]).await;
        receive(&world, &flood.calm, &[ban]).await;
        assert!(!is_resolving(&world, &flood.calm).await);
        assert_eq!(flood.left(&world).await, 0, "after {appends} appends");
        assert_eq!(
            flood.changes(&world).await,
            2 * 40,
            "after {appends} appends"
        );
        let world = world.reopen().await;
        assert_eq!(flood.left(&world).await, 0, "after {appends} appends");
        world.close().await;
    }
    assert!(half_way > 3, "{half_way} were half way, {whole} were not");
}

/// Sabotage: put the memory of a room back whose later batches did not land.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_that_are_refused_are_written_again() {
    let flood = Flood::of(40);
    let world = World::in_portions_of(700).await;
    flood.run(&world).await;
    world.probe.refuse_appends_after(3, 1);
    receive(&world, &flood.calm, &[ban(&flood.calm)]).await;
    assert_eq!(world.probe.refusals_left(), 0, "nothing was refused");
    assert_eq!(flood.left(&world).await, 0);
    assert!(!is_resolving(&world, &flood.calm).await);
    world.close().await;
}

/// Whoever asked goes away between two batches: what runs a request is its caller's.
///
/// Sabotage: put the memory of a room back whatever ends the request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_dropped_half_way_is_gone_on_with() {
    let flood = Flood::of(40);
    let mut dropped = 0;
    for _ in 0..12 {
        let world = World::in_portions_of(700).await;
        flood.run(&world).await;
        let ban = ban(&flood.calm);
        let banning = vec![ban.clone()];
        tokio::select! {
            arrived = world.rooms.receive(&flood.calm.room, banning) => drop(arrived.unwrap()),
            () = half_way(&world, &flood.calm) => dropped += 1,
        }
        let said = message(&remote("ann"), "well");
        // It follows both ends: nothing is resolved for it.
        let ends = [&ban.pdu, &flood.flooded.last];
        let next = flood.calm.clone().send_after(said, &ends);
        receive(&world, &flood.calm, &[ban, next]).await;
        assert!(!is_resolving(&world, &flood.calm).await);
        assert_eq!(flood.left(&world).await, 0);
        assert_eq!(flood.changes(&world).await, 2 * 40);
        world.close().await;
    }
    assert!(dropped > 3, "only {dropped} were dropped");
}

async fn half_way(world: &World, branch: &Branch) {
    while !is_resolving(world, branch).await {
        tokio::task::yield_now().await;
    }
}
