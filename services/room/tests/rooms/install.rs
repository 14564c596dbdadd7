//! Rooms that were joined through another server.

use hanse_log::Position;
use hanse_room::{
    Fate, Fetched, HistoryPoint, Installed, InstalledCounts, MembershipAction, RoomError,
};
use ruma::{RoomVersionId, UserId, events::room::member::MembershipState};
use serde_json::json;

use crate::{
    remote_room::{RemoteRoom, remote},
    world::{SLOTS, World, user},
};

/// What a join brought along.
fn counts(installed: &Installed) -> InstalledCounts {
    match installed {
        Installed::Now { counts, .. } => *counts,
        other => panic!("{other:?}"),
    }
}

/// What everybody may see of a room is what the other servers said, and the join.
pub(crate) async fn assert_whole(world: &World, there: &RemoteRoom, user: &UserId) {
    let (reader, room) = (world.reader(), there.room_id());
    let join = world.timeline(room).await;
    assert_eq!(join.len(), 1);
    let before = reader.state_before(room, join[0].pdu.event_id()).await;
    assert_eq!(before.unwrap().unwrap(), there.state_ids());
    let members = reader.members(room, Position::END).await.unwrap();
    let plain = reader.plain_state(room, Position::END).await.unwrap();
    let is_own = |key: &(String, String)| key.1 == user.as_str();
    let others = there.state.keys().filter(|key| !is_own(key)).count();
    assert_eq!(members.len() + plain.len(), others + 1);
    for held in members.iter().chain(&plain) {
        let event = reader.state_body(room, held).await.unwrap().unwrap();
        assert_eq!(event.pdu.event_id(), held.event_id);
    }
    let joined = members.iter();
    let joined = joined.filter(|member| member.membership.as_deref() == Some("join"));
    let head = reader.head(room).await.unwrap().unwrap().head;
    assert_eq!(head.joined_members as usize, joined.count());
    let own = reader.user_room(user, room).await.unwrap().unwrap();
    assert_eq!(own.membership, MembershipState::Join);
    assert_eq!(own.position, join[0].position);
}

/// Rows that an installation of the room may have left.
pub(crate) async fn archived(world: &World, there: &RemoteRoom) -> usize {
    let mut rows = 0;
    for number in 0_i64..=16 {
        let room = || there.room_id().as_str();
        let shelf = -(1_i64 << 40) - 1 - number;
        for table in ["room_state", "room_state_versions"] {
            rows += world.rows(table, vec![room().into(), number.into()]).await;
        }
        rows += world
            .rows("room_events", vec![room().into(), shelf.into()])
            .await;
    }
    for pdu in &there.events {
        rows += world
            .rows("events", vec![pdu.event_id().as_str().into()])
            .await;
    }
    rows + installations(world).await
}

/// Rooms of which something may be left.
pub(crate) async fn installations(world: &World) -> usize {
    let mut rows = 0;
    for slot in 0..i64::from(SLOTS) {
        rows += world.rows("room_installations", vec![slot.into()]).await;
    }
    rows
}

/// Nobody may see anything of a room.
pub(crate) async fn assert_nothing(world: &World, there: &RemoteRoom, user: &UserId) {
    let (reader, room) = (world.reader(), there.room_id());
    assert!(reader.head(room).await.unwrap().is_none());
    assert!(reader.user_room(user, room).await.unwrap().is_none());
    let members = reader.members(room, Position::END).await.unwrap();
    let plain = reader.plain_state(room, Position::END).await.unwrap();
    assert!(members.is_empty() && plain.is_empty());
    for ((event_type, state_key), pdu) in &there.state {
        let held = reader.state(room, event_type, state_key, Position::END);
        assert!(held.await.unwrap().is_none());
        assert!(reader.event(room, pdu.event_id()).await.unwrap().is_none());
    }
    assert!(world.timeline(room).await.is_empty());
    let sent = world.try_say(room, user, "is anybody there?").await;
    assert!(
        matches!(sent, Err(RoomError::UnknownRoom { .. })),
        "{sent:?}"
    );
}

/// Sabotage: leave no gap before the join: nothing leads to what was before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_before_the_join_may_be_backfilled() {
    let world = World::new().await;
    let (ada, zoe) = (user("ada"), remote("zoe"));
    let mut there = RemoteRoom::new(RoomVersionId::V11);
    let topic = there.set(&zoe, ("m.room.topic", ""), &json!({ "topic": "old" }));
    let join = there.joined(&ada);
    there.install(&world.rooms, &join).await.unwrap();
    let room = there.room_id();
    let (start, end) = (HistoryPoint::START, HistoryPoint::END);
    let gaps = world.reader().gaps(room, start, end, 10).await.unwrap();
    let missing: Vec<_> = gaps.into_iter().map(|gap| gap.missing).collect();
    assert_eq!(missing, [topic.event_id()]);

    let older = Fetched {
        event: there.received(&topic),
        states: Vec::new(),
    };
    let arrived = world.rooms.backfill(room, vec![older]).await.unwrap();
    assert!(
        matches!(arrived[0].fate, Fate::Accepted),
        "{:?}",
        arrived[0].fate
    );
    let gaps = world.reader().gaps(room, start, end, 10).await.unwrap();
    assert!(gaps.iter().all(|gap| gap.missing != topic.event_id()));
    let timeline = world.timeline(room).await;
    let shown: Vec<_> = timeline.iter().map(|event| event.pdu.event_id()).collect();
    assert_eq!(shown, [topic.event_id(), join.event_id()]);
    world.close().await;
}

/// Sabotage: leave the memberships out of the counts; list the state's bodies in the timeline; let the
/// state before the join end before its first event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_joined_elsewhere_is_there_whole() {
    for version in [RoomVersionId::V6, RoomVersionId::V11, RoomVersionId::V12] {
        let world = World::new().await;
        let (ada, zoe) = (user("ada"), remote("zoe"));
        let mut there = RemoteRoom::new(version);
        there.members(700, 20);
        // Behind the state, and no part of it any more.
        there.member(&remote("member3"), &remote("member3"), "leave");
        there.set(&zoe, ("m.room.topic", ""), &json!({ "topic": "old" }));
        there.set(&zoe, ("m.room.topic", ""), &json!({ "topic": "new" }));
        let join = there.joined(&ada);
        let installed = there.install(&world.rooms, &join).await.unwrap();
        let expected = InstalledCounts {
            state: there.state.len() as u32,
            behind: 2,
            ..InstalledCounts::default()
        };
        assert_eq!(counts(&installed), expected);
        assert_whole(&world, &there, &ada).await;

        // From here on it is a room as any other.
        let room = there.room_id();
        let sent = world.say(room, &ada, "hello").await;
        assert_eq!(world.timeline(room).await[1].pdu.event_id(), sent.event_id);
        assert_eq!(
            world.content(room, "m.room.topic", "").await["topic"],
            "new"
        );
        let world = world.reopen().await;
        world
            .member(room, &ada, &ada, MembershipAction::Leave)
            .await
            .unwrap();
        let head = world.reader().head(room).await.unwrap().unwrap().head;
        assert_eq!(head.joined_members, 700);
        world.close().await;
    }
}

/// Sabotage: load all members before a send.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_reads_as_much_whatever_the_size() {
    let mut reads = Vec::new();
    for members in [10, 600] {
        let world = World::new().await;
        let ada = user("ada");
        let mut there = RemoteRoom::new(RoomVersionId::V11);
        there.members(members, 20);
        there
            .install(&world.rooms, &there.joined(&ada))
            .await
            .unwrap();
        world.settle().await;
        let before = world.probe.reads();
        world.say(there.room_id(), &ada, "one").await;
        let first = world.probe.reads() - before;
        world.settle().await;
        let before = world.probe.reads();
        world.say(there.room_id(), &ada, "two").await;
        reads.push((first, world.probe.reads() - before));
        world.close().await;
    }
    assert_eq!(
        reads[0], reads[1],
        "reads of the first send and of the second"
    );
    assert!(reads[0].0 < 40 && reads[0].1 < 10, "{reads:?}");
}

/// Sabotage: look up what authorises a member in the archives, member by member.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_authorises_the_members_is_not_read_for_each() {
    const MEMBERS: usize = 1_500;
    let world = World::new().await;
    let ada = user("ada");
    let mut there = RemoteRoom::new(RoomVersionId::V11);
    there.members(MEMBERS, 20);
    let before = world.probe.reads();
    there
        .install(&world.rooms, &there.joined(&ada))
        .await
        .unwrap();
    let reads = world.probe.reads() - before;
    eprintln!("rows read to install {MEMBERS} members: {reads}");
    // What was staged is read twice: for its order, then to be written.
    assert!(reads < MEMBERS * 3, "{reads}");
    world.close().await;
}

/// Sabotage: take a member's leave for an event on a fork; look the member up in the timeline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_the_join_changes_the_installed_state() {
    let world = World::new().await;
    let ada = user("ada");
    let mut there = RemoteRoom::new(RoomVersionId::V11);
    there.members(20, 20);
    let join = there.joined(&ada);
    there.install(&world.rooms, &join).await.unwrap();
    let before = there.state_ids();
    there.keep(join.clone());
    let (room, gone) = (there.room_id().to_owned(), remote("member7"));
    let leave = there.member(&gone, &gone, "leave");
    let received = vec![there.received(&leave)];
    let arrived = world.rooms.receive(&room, received).await.unwrap();
    assert_eq!(arrived[0].fate, Fate::Accepted);
    let head = world.reader().head(&room).await.unwrap().unwrap().head;
    assert_eq!(head.joined_members, 21);
    let after = world.reader().state_after(&room, leave.event_id()).await;
    assert_eq!(after.unwrap().unwrap(), there.state_ids());
    // What was before the join still is.
    let then = world.reader().state_before(&room, join.event_id()).await;
    assert_eq!(then.unwrap().unwrap(), before);
    world.close().await;
}

/// Sabotage: let a rejected event into the state, or one whose auth events are missing; judge an event
/// by the whole state.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_be_there_is_not() {
    let world = World::new().await;
    let ada = user("ada");
    let mut there = RemoteRoom::new(RoomVersionId::V11);
    there.members(5, 20);
    let honest = there.state_ids();
    let join = there.joined(&ada);
    let mallory = remote("member1");
    let levels = json!({ "users": { mallory.as_str(): 100 } });
    there.set(&mallory, ("m.room.power_levels", ""), &levels);
    // Allowed by those levels alone.
    there.set(&mallory, ("m.room.name", ""), &json!({ "name": "mine" }));
    // What this one stands behind is never told.
    let lost = there.member(&remote("lost"), &remote("lost"), "join");
    there.set(&remote("lost"), ("org.hanse.orphan", ""), &json!({}));
    there.events.retain(|pdu| *pdu != lost);
    let installed = there.install(&world.rooms, &join).await.unwrap();
    let counts = counts(&installed);
    assert_eq!((counts.rejected, counts.left_out), (2, 1));
    let before = world
        .reader()
        .state_before(there.room_id(), join.event_id())
        .await;
    let mut expected = honest;
    // The other servers say that Mallory's levels hold the key; without them it has no value.
    expected.remove(&("m.room.power_levels".to_owned(), String::new()));
    assert_eq!(before.unwrap().unwrap(), expected);
    world.close().await;
}

/// Sabotage: leave what was written when the join is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_join_leaves_nothing_behind() {
    let world = World::new().await;
    let (ada, zoe) = (user("ada"), remote("zoe"));
    let mut there = RemoteRoom::new(RoomVersionId::V11);
    there.members(300, 20);
    there.set(
        &zoe,
        ("m.room.join_rules", ""),
        &json!({ "join_rule": "invite" }),
    );
    let refused = there.install(&world.rooms, &there.joined(&ada)).await;
    assert!(
        matches!(refused, Err(RoomError::Forbidden { .. })),
        "{refused:?}"
    );
    assert_nothing(&world, &there, &ada).await;
    assert_eq!(archived(&world, &there).await, 0);
    // Invited, she may.
    there.member(&zoe, &ada, "invite");
    there
        .install(&world.rooms, &there.joined(&ada))
        .await
        .unwrap();
    assert_whole(&world, &there, &ada).await;
    world.close().await;
}

/// Sabotage: take the second of two values, or both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_with_two_values_of_a_key_is_refused() {
    let world = World::new().await;
    let (ada, zoe) = (user("ada"), remote("zoe"));
    let mut there = RemoteRoom::new(RoomVersionId::V11);
    let one = there.set(&zoe, ("m.room.topic", ""), &json!({ "topic": "one" }));
    let two = there.set(&zoe, ("m.room.topic", ""), &json!({ "topic": "two" }));
    let mut staging = world.rooms.stage(there.room_id(), there.version.clone());
    let all = there.events.iter().map(|pdu| there.received(pdu)).collect();
    staging.add_state(all).await.unwrap();
    assert_ne!(one.event_id(), two.event_id());
    let refused = world
        .rooms
        .install(&staging.done(), there.joined(&ada))
        .await;
    assert!(
        matches!(refused, Err(RoomError::BadContent { .. })),
        "{refused:?}"
    );
    assert_nothing(&world, &there, &ada).await;
    world.close().await;
}

/// Sabotage: install again over a room that is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_join_is_known_and_another_is_told() {
    let world = World::new().await;
    let (ada, ben) = (user("ada"), user("ben"));
    let there = RemoteRoom::new(RoomVersionId::V11);
    let (join, other) = (there.joined(&ada), there.joined(&ben));
    let Installed::Now { sent, .. } = there.install(&world.rooms, &join).await.unwrap() else {
        panic!("not installed");
    };
    let again = there.install(&world.rooms, &join).await.unwrap();
    assert_eq!(again, Installed::Before { sent });
    let other = there.install(&world.rooms, &other).await.unwrap();
    assert_eq!(other, Installed::Here);
    world.close().await;
}

/// Sabotage: forget our users that the state names; tell somebody who left of it; count nobody but who
/// joins as ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_users_in_an_installed_state_have_their_memberships() {
    let world = World::new().await;
    let (ada, ben, cai, zoe) = (user("ada"), user("ben"), user("cai"), remote("zoe"));
    let mut there = RemoteRoom::new(RoomVersionId::V11);
    there.set(&zoe, ("m.room.name", ""), &json!({ "name": "there" }));
    let invite = there.member(&zoe, &ben, "invite");
    there.member(&cai, &cai, "join");
    there.member(&cai, &cai, "leave");
    there.member(&user("dan"), &user("dan"), "join");
    there
        .install(&world.rooms, &there.joined(&ada))
        .await
        .unwrap();
    assert_whole(&world, &there, &ada).await;
    let room = there.room_id();
    let invited = world.reader().user_room(&ben, room).await.unwrap().unwrap();
    assert_eq!(invited.membership, MembershipState::Invite);
    let stripped = invited.stripped_state.clone().unwrap();
    assert!(stripped.contains("there") && stripped.contains("\"invite\""));
    let event = world
        .reader()
        .membership_event(&invited)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(event.pdu.event_id(), invite.event_id());
    let left = world.reader().user_room(&cai, room).await.unwrap().unwrap();
    assert_eq!(left.membership, MembershipState::Leave);
    world.join(room, &ben).await;
    let head = world.reader().head(room).await.unwrap().unwrap().head;
    assert_eq!(head.local_members, 3);
    world.close().await;
}

/// The states of two attempts differ: what only the first one had must not stay.
///
/// Sabotage: show the state's rows before the room has a head; do not sweep before the last batch;
/// sweep what the second attempt wrote; go on with a piece that was lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_anywhere_shows_nothing_or_all() {
    let ada = user("ada");
    let mut first = RemoteRoom::new(RoomVersionId::V11);
    first.members(60, 4_000);
    let mut second = RemoteRoom::new(RoomVersionId::V11);
    second.members(45, 4_000);
    let (mut nothing, mut whole) = (0, 0);
    for appends in 1..10 {
        for half_applied in [false, true] {
            let world = World::new().await;
            let join = first.joined(&ada);
            world.probe.die_at_append(appends, half_applied);
            tokio::select! {
                installed = first.install(&world.rooms, &join) => drop(installed.unwrap()),
                () = world.probe.dead() => {}
            }
            let world = world.crash().await;
            if world
                .reader()
                .head(first.room_id())
                .await
                .unwrap()
                .is_some()
            {
                assert_whole(&world, &first, &ada).await;
                whole += 1;
                world.close().await;
                continue;
            }
            nothing += 1;
            assert_nothing(&world, &first, &ada).await;
            second
                .install(&world.rooms, &second.joined(&ada))
                .await
                .unwrap();
            assert_whole(&world, &second, &ada).await;
            let world = world.reopen().await;
            assert_whole(&world, &second, &ada).await;
            world.close().await;
        }
    }
    assert!(
        nothing > 5 && whole > 0,
        "{nothing} had nothing and {whole} the whole"
    );
}
