//! What installations left that nobody went on with.

use std::time::Duration;

use hanse_event::Pdu;
use hanse_proto::{
    log::{Entry, entry::Kind},
    room::{Installation, RoomEntry, room_entry},
};
use hanse_room::{Installed, Told};
use ruma::{CanonicalJsonObject, RoomVersionId, UserId, events::room::member::MembershipState};
use serde_json::value::RawValue;

use crate::{
    install::{archived, assert_nothing, assert_whole, installations},
    remote_room::{RemoteRoom, remote},
    world::{World, user},
};

/// After this nobody can go on with an installation.
const HOUR: Duration = Duration::from_hours(1);

fn there(members: usize, bytes: usize) -> RemoteRoom {
    let mut there = RemoteRoom::new(RoomVersionId::V11);
    there.members(members, bytes);
    there
}

/// An installation that has written so many batches when its process ends.
async fn abandoned(world: World, there: &RemoteRoom, user: &UserId, batches: i64) -> World {
    let join = there.joined(user);
    world.settle().await;
    world.probe.die_at_append(batches, false);
    tokio::select! {
        installed = there.install(&world.rooms, &join) => panic!("{installed:?}"),
        () = world.probe.dead() => {}
    }
    world.crash().await
}

/// Collects until no room is left of which anything may be.
async fn collected(world: &World) {
    let collecting = world.collecting();
    let ended = async {
        while installations(world).await > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(30), ended);
    ended.await.unwrap();
    collecting.finish().await;
}

/// Two attempts at different states: the second has replaced some values of the first.
///
/// Sabotage: do not say that an installation began; collect it before its time; walk over the current
/// values alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_goes_on_with_is_collected_after_its_time() {
    let ada = user("ada");
    let (first, second) = (there(300, 20), there(45, 2_000));
    let world = abandoned(World::new().await, &first, &ada, 5).await;
    let world = abandoned(world, &second, &ada, 2).await;
    let left = async |world: &World| archived(world, &first).await + archived(world, &second).await;
    let before = left(&world).await;
    assert!(
        before > 500 && installations(&world).await == 1,
        "{before} rows"
    );
    for wait in [Duration::ZERO, Duration::from_mins(59)] {
        world.later(wait);
        world.collect().await;
        assert_eq!(left(&world).await, before);
    }
    world.later(Duration::from_mins(1));
    collected(&world).await;
    assert_eq!(left(&world).await, 0);
    assert_nothing(&world, &second, &ada).await;

    // What replay writes again is taken away again.
    let world = world.crash().await;
    assert_eq!(left(&world).await, 0);
    let join = first.joined(&ada);
    first.install(&world.rooms, &join).await.unwrap();
    assert_whole(&world, &first, &ada).await;
    assert_eq!(installations(&world).await, 0);
    world.close().await;
}

/// Sabotage: sweep the shelves from the first one up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_sweep_left_that_was_cut_is_collected_by_the_next() {
    let ada = user("ada");
    let there = there(700, 20);
    for batches in [6, 18, 23] {
        let world = abandoned(World::new().await, &there, &ada, 10).await;
        let second_shelf = vec![there.room_id().as_str().into(), (-(1_i64 << 40) - 2).into()];
        assert!(world.rows("room_events", second_shelf).await > 0);
        world.later(HOUR);
        world.probe.die_at_append(batches, false);
        let collecting = world.collecting();
        world.probe.dead().await;
        collecting.hard().cancel();
        collecting.finish().await;
        let world = world.crash().await;
        assert!(archived(&world, &there).await > 0);
        world.later(HOUR);
        collected(&world).await;
        assert_eq!(archived(&world, &there).await, 0, "cut after {batches}");
        world.close().await;
    }
}

/// Sabotage: sweep a room that is being installed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_under_way_is_let_be() {
    let world = World::new().await;
    let ada = user("ada");
    let there = there(100, 4_000);
    let staged = there.staged(&world.rooms).await;
    let gate = world.probe.gate.lock().await;
    let installing = world.rooms.install(&staged, there.joined(&ada));
    let meanwhile = async {
        let mut gate = gate;
        while installations(&world).await == 0 {
            // What waits goes through, and no more.
            drop(gate);
            gate = world.probe.gate.lock().await;
            world.let_them_queue().await;
        }
        world.later(2 * HOUR);
        let collecting = world.collecting();
        world.let_them_queue().await;
        drop(gate);
        collecting
    };
    let (installed, collecting) = tokio::join!(installing, meanwhile);
    assert!(
        matches!(installed, Ok(Installed::Now { .. })),
        "{installed:?}"
    );
    world.settle().await;
    collecting.finish().await;
    assert_whole(&world, &there, &ada).await;
    world.close().await;
}

/// Sabotage: refuse to install a room that is being swept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_takes_the_room_from_a_sweep() {
    let ada = user("ada");
    let (first, second) = (there(300, 20), there(45, 2_000));
    let world = abandoned(World::new().await, &first, &ada, 5).await;
    world.later(HOUR);
    let join = second.joined(&ada);
    let gate = world.probe.gate.lock().await;
    let collecting = world.collecting();
    // Its first page waits.
    world.let_them_queue().await;
    let meanwhile = async {
        world.let_them_queue().await;
        drop(gate);
    };
    let (installed, ()) = tokio::join!(second.install(&world.rooms, &join), meanwhile);
    assert!(
        matches!(installed, Ok(Installed::Now { .. })),
        "{installed:?}"
    );
    world.settle().await;
    collecting.finish().await;
    assert_whole(&world, &second, &ada).await;
    assert_eq!(installations(&world).await, 0);
    world.close().await;
}

/// Sabotage: do not ask whether the room is here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_is_here_is_never_swept() {
    let world = World::new().await;
    let ada = user("ada");
    let there = there(20, 20);
    there
        .install(&world.rooms, &there.joined(&ada))
        .await
        .unwrap();
    assert_eq!(installations(&world).await, 0);
    let room_id = there.room_id();
    let slot = world.logs.slot_of(room_id.as_str());
    let installation = Installation {
        slot: slot.0,
        began_at_ms: 1,
        ended: false,
    };
    let entry = Entry {
        kind: Some(Kind::Room(RoomEntry {
            room_id: room_id.to_string(),
            kind: Some(room_entry::Kind::Installation(installation)),
        })),
        ..Entry::default()
    };
    let ticket = world.logs.submit(slot, None, vec![entry]).unwrap();
    ticket.applied().await.unwrap();
    assert_eq!(installations(&world).await, 1);
    collected(&world).await;
    assert_eq!(installations(&world).await, 0);
    assert_whole(&world, &there, &ada).await;
    world.close().await;
}

/// The invitation is in the state that was being installed, and comes by itself before that or after.
///
/// Sabotage: forget whatever has the id of an event on a shelf; take what was left for known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_outlives_an_installation_that_came_to_nothing() {
    for comes_first in [true, false] {
        let mut world = World::new().await;
        let (ada, zoe) = (user("ada"), remote("zoe"));
        let mut there = there(5, 20);
        let invite = there.member(&zoe, &ada, "invite");
        if comes_first {
            invited(&world, &there, &invite).await;
        }
        world = abandoned(world, &there, &ada, 1).await;
        assert!(archived(&world, &there).await > 10);
        if !comes_first {
            invited(&world, &there, &invite).await;
        }
        world.later(HOUR);
        collected(&world).await;
        // Where the invitation stands.
        assert_eq!(archived(&world, &there).await, 1);
        let held = world.reader().user_room(&ada, there.room_id()).await;
        let held = held.unwrap().unwrap();
        assert_eq!(held.membership, MembershipState::Invite);
        let event = world.reader().membership_event(&held).await.unwrap();
        assert_eq!(event.map(|event| event.pdu), Some(invite));
        let rejected = world
            .rooms
            .reject(there.room_id(), ada, CanonicalJsonObject::new());
        rejected.await.unwrap();
        world.close().await;
    }
}

async fn invited(world: &World, there: &RemoteRoom, invite: &Pdu) {
    let create = there.events[0].json().to_owned();
    let shown = [RawValue::from_string(create).unwrap()];
    for expected_now in [true, false] {
        let told = world
            .rooms
            .receive_membership(there.received(invite), &shown);
        let told = told.await.unwrap();
        assert_eq!(matches!(told, Told::Now(_)), expected_now, "{told:?}");
    }
}
