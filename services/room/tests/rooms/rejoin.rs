//! Rooms that are joined again through another server, after all of us had left.

use std::collections::BTreeMap;

use hanse_log::Position;
use hanse_room::{Fate, HistoryPoint, Installed, MembershipAction, RoomError, StateIds};
use ruma::{OwnedEventId, OwnedUserId, RoomVersionId, events::room::member::MembershipState};
use serde_json::json;

use crate::{
    remote_room::{RemoteRoom, remote},
    world::{World, user},
};

/// Ada joins a room, and leaves it again.
async fn been_there(world: &World, there: &mut RemoteRoom) -> OwnedUserId {
    let ada = user("ada");
    let join = there.joined(&ada);
    let installed = there.install(&world.rooms, &join).await.unwrap();
    assert!(matches!(installed, Installed::Now { .. }), "{installed:?}");
    there.keep(join);
    let leave = there.member(&ada, &ada, "leave");
    let left = vec![there.received(&leave)];
    let arrived = world.rooms.receive(there.room_id(), left).await.unwrap();
    assert_eq!(arrived[0].fate, Fate::Accepted);
    assert_eq!(local_members(world, there).await, 0);
    ada
}

async fn local_members(world: &World, there: &RemoteRoom) -> i64 {
    let head = world.reader().head(there.room_id()).await.unwrap();
    head.unwrap().head.local_members
}

async fn current(world: &World, there: &RemoteRoom) -> StateIds {
    let (reader, room) = (world.reader(), there.room_id());
    let mut state = reader.plain_state(room, Position::END).await.unwrap();
    state.extend(reader.members(room, Position::END).await.unwrap());
    let ids = state.into_iter();
    ids.map(|held| ((held.event_type, held.state_key), held.event_id))
        .collect()
}

async fn ends(world: &World, there: &RemoteRoom) -> Vec<String> {
    let head = world.reader().head(there.room_id()).await.unwrap();
    head.unwrap().head.forward_extremities
}

async fn missing(world: &World, there: &RemoteRoom) -> Vec<OwnedEventId> {
    let (start, end) = (HistoryPoint::START, HistoryPoint::END);
    let gaps = world.reader().gaps(there.room_id(), start, end, 10).await;
    gaps.unwrap().into_iter().map(|gap| gap.missing).collect()
}

/// The room is what the other servers said, with the join, which is its last event.
async fn assert_anew(world: &World, there: &mut RemoteRoom, join: &hanse_event::Pdu) {
    let before = world
        .reader()
        .state_before(there.room_id(), join.event_id());
    assert_eq!(before.await.unwrap().unwrap(), there.state_ids());
    there.keep(join.clone());
    assert_eq!(current(world, there).await, there.state_ids());
    assert_eq!(ends(world, there).await, [join.event_id().as_str()]);
    let head = world.reader().head(there.room_id()).await.unwrap().unwrap();
    let is_joined = |pdu: &&hanse_event::Pdu| pdu.membership() == Some(MembershipState::Join);
    let joined = there.state.values().filter(is_joined).count();
    assert_eq!(head.head.joined_members as usize, joined);
    assert_eq!(head.head.local_members, 1);
    assert!(!head.head.resolving);
}

/// Sabotage: keep the ends that the room had (what the others forgot is still there); place the join
/// on the state as we knew it; leave no gap; judge the join by what the room was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_all_of_us_left_begins_anew() {
    for version in [RoomVersionId::V6, RoomVersionId::V11, RoomVersionId::V12] {
        let world = World::new().await;
        let zoe = remote("zoe");
        let mut there = RemoteRoom::new(version);
        there.members(30, 20);
        there.set(&zoe, ("m.room.topic", ""), &json!({ "topic": "old" }));
        there.set(&zoe, ("org.hanse.flag", ""), &json!({}));
        let rules = ("m.room.join_rules", "");
        there.set(&zoe, rules, &json!({ "join_rule": "invite" }));
        there.member(&zoe, &user("ada"), "invite");
        let ada = been_there(&world, &mut there).await;
        let room = there.room_id().to_owned();
        let then = current(&world, &there).await;
        let left = there.events.last().unwrap().clone();

        there.set(&zoe, ("m.room.topic", ""), &json!({ "topic": "new" }));
        there.member(&remote("member7"), &remote("member7"), "leave");
        there.set(&zoe, rules, &json!({ "join_rule": "public" }));
        let last = there.member(&remote("late"), &remote("late"), "join");
        // Overruled on the other servers, by something that we shall never see.
        there
            .state
            .remove(&("org.hanse.flag".to_owned(), String::new()));
        let join = there.joined(&ada);
        let installed = there.install(&world.rooms, &join).await.unwrap();
        let Installed::Now { sent, counts } = installed else {
            panic!("{installed:?}");
        };
        assert_eq!(counts.state as usize, there.state.len(), "{counts:?}");
        // Beside the gap before the first join.
        assert_eq!(missing(&world, &there).await[1..], [last.event_id()]);
        assert_anew(&world, &mut there, &join).await;
        // What was before is as it was.
        let after = world.reader().state_after(&room, left.event_id()).await;
        assert_eq!(after.unwrap().unwrap(), then);
        let shown: Vec<_> = world.timeline(&room).await;
        let shown: Vec<_> = shown.iter().map(|event| event.pdu.event_id()).collect();
        assert_eq!(shown.len(), 3);
        assert_eq!(shown[1..], [left.event_id(), join.event_id()]);
        let own = world
            .reader()
            .user_room(&ada, &room)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (own.membership, own.position),
            (MembershipState::Join, sent.position)
        );

        // From here on it is a room as any other.
        let world = world.reopen().await;
        world.say(&room, &ada, "hello again").await;
        assert_eq!(
            world.content(&room, "m.room.topic", "").await["topic"],
            "new"
        );
        let again = there.install(&world.rooms, &join).await.unwrap();
        assert_eq!(again, Installed::Before { sent });
        world
            .member(&room, &ada, &ada, MembershipAction::Leave)
            .await
            .unwrap();
        assert_eq!(local_members(&world, &there).await, 0);
        world.close().await;
    }
}

/// Sabotage: take the other server's word for a state that is known here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_we_know_of_all_that_the_join_follows_counts_for_more() {
    let world = World::new().await;
    let mut there = RemoteRoom::new(RoomVersionId::V11);
    there.members(3, 20);
    there.set(&remote("zoe"), ("org.hanse.flag", ""), &json!({}));
    let ada = been_there(&world, &mut there).await;
    let join = there.joined(&ada);
    let known = there.state.clone();
    // Nothing happened since; and yet the other server leaves something out.
    there
        .state
        .remove(&("org.hanse.flag".to_owned(), String::new()));
    there.install(&world.rooms, &join).await.unwrap();
    there.state = known;
    assert_anew(&world, &mut there, &join).await;
    // Only what was before the first join.
    assert_eq!(missing(&world, &there).await.len(), 1);
    world.close().await;
}

/// Sabotage: sweep what was written when the join is refused, as if the room were not here; take a state
/// without the room's create event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_join_changes_nothing() {
    let world = World::new().await;
    let mut there = RemoteRoom::new(RoomVersionId::V11);
    there.members(3, 20);
    let ada = been_there(&world, &mut there).await;
    let before = (current(&world, &there).await, ends(&world, &there).await);
    there.member(&remote("zoe"), &ada, "ban");
    let refused = there.install(&world.rooms, &there.joined(&ada)).await;
    assert!(
        matches!(refused, Err(RoomError::Forbidden { .. })),
        "{refused:?}"
    );
    // Another room's state is none of this one.
    let other = RemoteRoom::new(RoomVersionId::V12);
    let staging = world.rooms.stage(there.room_id(), other.version.clone());
    let refused = world
        .rooms
        .install(&staging.done(), there.joined(&ada))
        .await;
    assert!(
        matches!(refused, Err(RoomError::BadContent { .. })),
        "{refused:?}"
    );
    // Nor is a state that begins with nothing.
    there.member(&remote("zoe"), &ada, "leave");
    let create = ("m.room.create".to_owned(), String::new());
    let created = there.state.remove(&create).unwrap();
    let refused = there.install(&world.rooms, &there.joined(&ada)).await;
    assert!(
        matches!(refused, Err(RoomError::BadContent { .. })),
        "{refused:?}"
    );
    there.state.insert(create, created);
    let after = (current(&world, &there).await, ends(&world, &there).await);
    assert_eq!(after, before);
    let join = there.joined(&ada);
    there.install(&world.rooms, &join).await.unwrap();
    assert_anew(&world, &mut there, &join).await;
    world.close().await;
}

/// Sabotage: let a rejected event into the state.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_allowed_is_in_no_state() {
    let world = World::new().await;
    let mut there = RemoteRoom::new(RoomVersionId::V11);
    there.members(3, 20);
    let ada = been_there(&world, &mut there).await;
    let honest = there.state.clone();
    let mallory = remote("member1");
    there.set(&mallory, ("m.room.name", ""), &json!({ "name": "mine" }));
    let join = there.joined(&ada);
    let installed = there.install(&world.rooms, &join).await.unwrap();
    let Installed::Now { counts, .. } = installed else {
        panic!("{installed:?}");
    };
    assert_eq!(counts.rejected, 1);
    there.state = honest;
    assert_anew(&world, &mut there, &join).await;
    world.close().await;
}

/// More changes than one batch holds: after a crash the room is as it was, or it is gone on with.
///
/// Sabotage: do not say that changes follow; sweep what was written as if the room were not here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_anywhere_leaves_the_room_as_it_was_or_anew() {
    const JOINED: usize = 40;
    let (mut as_it_was, mut anew) = (0, 0);
    for appends in 1..12 {
        for half_applied in [false, true] {
            let world = World::in_portions_of(2_000).await;
            let mut there = RemoteRoom::new(RoomVersionId::V11);
            there.members(3, 20);
            let ada = been_there(&world, &mut there).await;
            let then = current(&world, &there).await;
            there.members(JOINED, 2_000);
            let join = there.joined(&ada);
            world.probe.die_at_append(appends, half_applied);
            tokio::select! {
                installed = there.install(&world.rooms, &join) => drop(installed.unwrap()),
                () = world.probe.dead() => {}
            }
            let world = world.crash().await;
            let room = there.room_id().to_owned();
            let known = world.reader().event(&room, join.event_id()).await.unwrap();
            if known.is_none() {
                as_it_was += 1;
                assert_eq!(current(&world, &there).await, then);
            } else {
                anew += 1;
            }
            let installed = there.install(&world.rooms, &join).await.unwrap();
            assert_eq!(
                matches!(installed, Installed::Before { .. }),
                known.is_some()
            );
            // Whoever loads the room goes on with what was left.
            world.say(&room, &ada, "hello").await;
            let mut expected: BTreeMap<_, _> = there.state_ids();
            let own = ("m.room.member".to_owned(), ada.to_string());
            expected.insert(own, join.event_id().to_owned());
            assert_eq!(current(&world, &there).await, expected);
            assert_eq!(local_members(&world, &there).await, 1);
            world.close().await;
        }
    }
    assert!(
        as_it_was > 3 && anew > 3,
        "{as_it_was} as it was, {anew} anew"
    );
}
