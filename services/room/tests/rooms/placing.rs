//! Events from elsewhere that do not come in order: outliers, gaps, backfill.

use hanse_event::{Draft, Received};
use hanse_log::Position;
use hanse_room::{Arrived, FETCHED_IDS_MAX, Fate, Fetched, HistoryPoint, RECEIVED_MAX, RoomError};
use hanse_store::Direction;
use ruma::{EventId, OwnedEventId, RoomId};
use serde_json::json;

use crate::{
    elsewhere::{Branch, member, message, remote, state},
    world::{World, user},
};

/// A room of another server of which we have the first events.
async fn room_of_another(world: &World) -> Branch {
    let (branch, events) = Branch::new(&remote("ann"));
    let arrived = world.rooms.receive(&branch.room, events).await.unwrap();
    assert!(fates(&arrived).iter().all(|fate| *fate == Fate::Accepted));
    branch
}

fn fates(arrived: &[Arrived]) -> Vec<Fate> {
    arrived.iter().map(|arrived| arrived.fate.clone()).collect()
}

async fn receive(world: &World, room: &RoomId, event: &Received) -> Fate {
    let arrived = world.rooms.receive(room, vec![event.clone()]).await;
    fates(&arrived.unwrap()).remove(0)
}

async fn outliers(world: &World, room: &RoomId, events: &[&Received]) -> Vec<Fate> {
    let events = events.iter().map(|event| (*event).clone()).collect();
    fates(&world.rooms.receive_outliers(room, events).await.unwrap())
}

async fn on_state(
    world: &World,
    room: &RoomId,
    event: &Received,
    state: Vec<OwnedEventId>,
) -> Fate {
    let arrived = world
        .rooms
        .receive_fetched(room, fetched(event, vec![state]));
    arrived.await.unwrap().fate
}

async fn backfill(world: &World, room: &RoomId, events: Vec<Fetched>) -> Vec<Fate> {
    fates(&world.rooms.backfill(room, events).await.unwrap())
}

fn fetched(event: &Received, states: Vec<Vec<OwnedEventId>>) -> Fetched {
    let event = event.clone();
    Fetched { event, states }
}

fn id(event: &Received) -> OwnedEventId {
    event.pdu.event_id().to_owned()
}

async fn shown(world: &World, room: &RoomId) -> Vec<OwnedEventId> {
    let timeline = world.timeline(room).await;
    timeline
        .iter()
        .map(|event| event.pdu.event_id().to_owned())
        .collect()
}

/// The whole history in the order of depth, forward.
async fn history(world: &World, room: &RoomId) -> Vec<OwnedEventId> {
    let (from, up_to) = (HistoryPoint::START, Position::END);
    let page = world
        .reader()
        .history(room, from, Direction::Forward, up_to, 1_000);
    let events = page.await.unwrap().events;
    events
        .iter()
        .map(|event| event.pdu.event_id().to_owned())
        .collect()
}

async fn missing(world: &World, room: &RoomId) -> Vec<OwnedEventId> {
    let (start, end) = (HistoryPoint::START, HistoryPoint::END);
    let gaps = world.reader().gaps(room, start, end, 100).await.unwrap();
    gaps.into_iter().map(|gap| gap.missing).collect()
}

async fn ends(world: &World, room: &RoomId) -> Vec<String> {
    world
        .reader()
        .head(room)
        .await
        .unwrap()
        .unwrap()
        .head
        .forward_extremities
}

/// Sabotage: show outliers, let them be ends of the room, call them known when they come as
/// ordinary events (in the same call, or later), or leave their bodies where redactions do not look.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outlier_takes_its_place_later() {
    let world = World::new().await;
    let mut branch = room_of_another(&world).await;
    let room = branch.room.clone();
    let (before, ends_before) = (shown(&world, &room).await, ends(&world, &room).await);
    let bob = remote("bob");
    let joined = branch.send(member(&bob, "join"));
    let said = branch.send(message(&bob, "hello"));

    assert!(matches!(
        outliers(&world, &room, &[&said]).await[..],
        [Fate::Missing { .. }]
    ));
    let kept = outliers(&world, &room, &[&joined, &said]).await;
    assert_eq!(kept, [Fate::Outlier, Fate::Outlier]);
    assert_eq!(outliers(&world, &room, &[&joined]).await, [Fate::Known]);
    assert_eq!(shown(&world, &room).await, before);
    assert_eq!(ends(&world, &room).await, ends_before);
    let reader = world.reader();
    assert!(reader.event(&room, &id(&joined)).await.unwrap().is_none());
    assert!(
        reader
            .state_after(&room, &id(&joined))
            .await
            .unwrap()
            .is_none()
    );
    assert!(matches!(
        receive(&world, &room, &said).await,
        Fate::Missing { .. }
    ));

    let both = vec![joined.clone(), said.clone(), said.clone()];
    let arrived = world.rooms.receive(&room, both).await.unwrap();
    assert_eq!(
        fates(&arrived),
        [Fate::Accepted, Fate::Accepted, Fate::Known]
    );
    let all = shown(&world, &room).await;
    assert_eq!(all[before.len()..], [id(&joined), id(&said)]);
    assert_eq!(ends(&world, &room).await, [id(&said).to_string()]);
    assert_eq!(
        world.content(&room, "m.room.member", bob.as_str()).await["membership"],
        "join"
    );

    let redaction = branch.send(Draft::redaction(bob.clone(), id(&said), None));
    assert_eq!(receive(&world, &room, &redaction).await, Fate::Accepted);
    let world = world.reopen().await;
    let said = world
        .reader()
        .event(&room, &id(&said))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(said.pdu.content().get(), "{}");
    world.close().await;
}

/// Sabotage: let a rejected outlier authorise others, or call it known when it comes again: its
/// successors would have no state to stand on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_outlier_stays_rejected_and_may_be_followed() {
    let world = World::new().await;
    let mut branch = room_of_another(&world).await;
    let room = branch.room.clone();
    let bob = remote("bob");
    let uninvited = state(&bob, "m.room.topic", "", &json!({ "topic": "mine" }));
    let before = branch.clone();
    let topic = branch.send(uninvited);
    let kept = outliers(&world, &room, &[&topic]).await;
    assert!(matches!(kept[..], [Fate::Rejected { .. }]), "{kept:?}");
    assert!(matches!(
        receive(&world, &room, &topic).await,
        Fate::Rejected { .. }
    ));
    assert_eq!(receive(&world, &room, &topic).await, Fate::Known);
    // The topic is not in the state behind it.
    branch.state = before.state;
    let next = branch.send(message(&remote("ann"), "on it goes"));
    assert_eq!(receive(&world, &room, &next).await, Fate::Accepted);
    let state = world
        .reader()
        .state_before(&room, &id(&next))
        .await
        .unwrap()
        .unwrap();
    assert!(state.values().all(|held| *held != id(&topic)));
    world.close().await;
}

/// Sabotage: take the state as it is told without knowing its events, forget the gap, let what fills
/// it become an end of the room, or hear nobody who came in the gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_taken_on_a_fetched_state_and_leaves_a_gap() {
    let world = World::new().await;
    let mut branch = room_of_another(&world).await;
    let room = branch.room.clone();
    let (ann, bob) = (remote("ann"), remote("bob"));
    let joined = branch.send(member(&bob, "join"));
    let topic = branch.send(state(&ann, "m.room.topic", "", &json!({ "topic": "new" })));
    let told = branch.told();
    let said = branch.send(message(&bob, "after the gap"));

    outliers(&world, &room, &[&joined]).await;
    assert!(matches!(
        receive(&world, &room, &said).await,
        Fate::Missing { .. }
    ));
    let unknown = on_state(&world, &room, &said, told.clone()).await;
    assert_eq!(
        unknown,
        Fate::Missing {
            events: vec![id(&topic)]
        }
    );
    outliers(&world, &room, &[&topic]).await;
    assert_eq!(
        on_state(&world, &room, &said, told.clone()).await,
        Fate::Accepted
    );

    let before = world
        .reader()
        .state_before(&room, &id(&said))
        .await
        .unwrap()
        .unwrap();
    let mut told = told;
    told.sort();
    let mut held: Vec<OwnedEventId> = before.into_values().collect();
    held.sort();
    assert_eq!(held, told);
    assert_eq!(missing(&world, &room).await, [id(&topic)]);
    assert_eq!(
        world.content(&room, "m.room.topic", "").await["topic"],
        "new"
    );

    let world = world.reopen().await;
    assert_eq!(receive(&world, &room, &joined).await, Fate::Accepted);
    assert_eq!(missing(&world, &room).await, [id(&topic)]);
    assert_eq!(receive(&world, &room, &topic).await, Fate::Accepted);
    assert!(missing(&world, &room).await.is_empty());
    assert_eq!(ends(&world, &room).await, [id(&said).to_string()]);
    world.close().await;
}

/// Sabotage: give backfilled events positions of the log (they come in incremental sync), let them
/// become ends or change the state, or reverse their positions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backfill_fills_a_gap_and_tells_nobody() {
    let world = World::new().await;
    let mut branch = room_of_another(&world).await;
    let room = branch.room.clone();
    let ann = remote("ann");
    let first = shown(&world, &room).await;
    let mut older = Vec::new();
    for number in 0..5 {
        let content = json!({ "topic": number });
        older.push(branch.send(state(&ann, "m.room.topic", "", &content)));
    }
    let told = branch.told();
    let said = branch.send(message(&ann, "after the gap"));
    outliers(&world, &room, &[&older[4]]).await;
    assert_eq!(on_state(&world, &room, &said, told).await, Fate::Accepted);
    let head = world.reader().head(&room).await.unwrap().unwrap();

    let stranger = branch.send(message(&ann, "nobody follows me"));
    let refused = backfill(&world, &room, vec![fetched(&stranger, vec![])]).await;
    assert_eq!(refused, [Fate::Unconnected]);
    // The newer ones first, and nothing is known of the state before them.
    let newer = older[3..]
        .iter()
        .map(|event| fetched(event, vec![]))
        .collect();
    assert_eq!(
        backfill(&world, &room, newer).await,
        [Fate::Accepted, Fate::Accepted]
    );
    assert_eq!(missing(&world, &room).await, [id(&older[2])]);
    assert!(
        world
            .reader()
            .state_before(&room, &id(&older[4]))
            .await
            .unwrap()
            .is_none()
    );
    let world = world.reopen().await;
    let rest = older
        .iter()
        .take(4)
        .map(|event| fetched(event, vec![]))
        .collect();
    let fates = backfill(&world, &room, rest).await;
    assert_eq!(fates[..3], [Fate::Accepted, Fate::Accepted, Fate::Accepted]);
    assert_eq!(fates[3], Fate::Known);
    assert!(missing(&world, &room).await.is_empty());

    let after = world.reader().head(&room).await.unwrap().unwrap();
    assert_eq!((after.position, after.head), (head.position, head.head));
    let older: Vec<OwnedEventId> = older.iter().map(id).collect();
    let all = [&first[..], &older[..], &[id(&said)]].concat();
    assert_eq!(history(&world, &room).await, all);
    let arrived = [&older[..], &first[..], &[id(&said)]].concat();
    assert_eq!(shown(&world, &room).await, arrived);
    let (start, end) = (Position::START, Position::END);
    let new = world
        .reader()
        .arrivals(&room, start, end, 100)
        .await
        .unwrap();
    let new: Vec<&EventId> = new
        .events
        .iter()
        .map(|event| event.pdu.event_id())
        .collect();
    assert_eq!(new, [&first[..], &[id(&said)]].concat());
    let state = world
        .reader()
        .state_before(&room, &older[1])
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        state.get(&("m.room.topic".to_owned(), String::new())),
        Some(&older[0])
    );
    world.close().await;
}

/// Sabotage: judge backfill by positions: whoever joined later reads what was said when only those
/// in the room could.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backfill_is_seen_by_those_who_could_see_it_then() {
    let world = World::new().await;
    let mut branch = room_of_another(&world).await;
    let room = branch.room.clone();
    let (ann, eve) = (remote("ann"), user("eve"));
    let open = branch.send(message(&ann, "for all"));
    let joined_only = json!({ "history_visibility": "joined" });
    let closed = branch.send(state(&ann, "m.room.history_visibility", "", &joined_only));
    let among_us = branch.send(message(&ann, "among us"));
    let told = branch.told();
    let said = branch.send(message(&ann, "after the gap"));
    outliers(&world, &room, &[&closed]).await;
    assert_eq!(on_state(&world, &room, &said, told).await, Fate::Accepted);
    world.join(&room, &eve).await;
    let older = [&open, &closed, &among_us];
    let handed = older.iter().map(|event| fetched(event, vec![])).collect();
    assert_eq!(
        backfill(&world, &room, handed).await,
        vec![Fate::Accepted; 3]
    );

    let (reader, mut seen) = (world.reader(), Vec::new());
    let mut lens = reader.lens(&room, &eve, Position::END).await.unwrap();
    for event in older {
        let event = reader.event(&room, &id(event)).await.unwrap().unwrap();
        assert!(!lens.sees(&event), "before anybody looked");
        let events = std::slice::from_ref(&event);
        reader.look_back(&room, &mut lens, events).await.unwrap();
        seen.push(lens.sees(&event));
    }
    // The event that closed the room was sent while it was open.
    assert_eq!(seen, [true, true, false]);
    world.close().await;
}

/// Sabotage: let an error of pruning end the call: the room takes nothing from elsewhere any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_redacts_the_create_event_stops_nothing() {
    let world = World::new().await;
    let (mut branch, events) = Branch::new(&remote("ann"));
    let create = id(&events[0]);
    world.rooms.receive(&branch.room, events).await.unwrap();
    let room = branch.room.clone();
    let redaction = branch.send(Draft::redaction(remote("ann"), create.clone(), None));
    assert_eq!(receive(&world, &room, &redaction).await, Fate::Accepted);
    let create = world.reader().event(&room, &create).await.unwrap().unwrap();
    assert!(!create.is_redacted());
    world.close().await;
}

/// Sabotage: leave out a bound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_handed_over_is_bounded() {
    let world = World::new().await;
    let mut branch = room_of_another(&world).await;
    let room = branch.room.clone();
    let event = branch.send(message(&remote("ann"), "much"));
    let many = vec![event.clone(); RECEIVED_MAX + 1];
    let refused = world.rooms.receive_outliers(&room, many.clone()).await;
    assert!(matches!(refused, Err(RoomError::TooLarge { .. })));
    let many = many.iter().map(|event| fetched(event, vec![])).collect();
    let refused = world.rooms.backfill(&room, many).await;
    assert!(matches!(refused, Err(RoomError::TooLarge { .. })));
    let states = vec![vec![id(&event); FETCHED_IDS_MAX / 2 + 1]; 2];
    let refused = world
        .rooms
        .receive_fetched(&room, fetched(&event, states))
        .await;
    assert!(matches!(refused, Err(RoomError::TooLarge { .. })));
    world.close().await;
}
