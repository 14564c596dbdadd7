//! Rooms with more ends than an event of ours may name.

#![expect(clippy::unwrap_used, reason = "what the tests share is test code, too")]

use hanse_event::{Draft, Received, content_of, visibility::is_dummy};
use hanse_graphs::{Scattered, Storage, World};
use hanse_log::Position;
use hanse_room::{Fate, NewEvent};
use ruma::{OwnedEventId, RoomVersionId};
use serde_json::json;

const ENDS: usize = 25;
/// Most that an event of ours names.
const NAMED: usize = 10;

async fn feed(world: &World, room: &Scattered, events: &[Received]) {
    let arrived = world.rooms.receive(&room.room_id, events.to_vec());
    for arrived in arrived.await.unwrap() {
        assert_eq!(arrived.fate, Fate::Accepted);
    }
}

async fn ends(world: &World, room: &Scattered) -> Vec<OwnedEventId> {
    let head = world.rooms.reader().head(&room.room_id).await.unwrap();
    let ends = head.unwrap().head.forward_extremities;
    ends.into_iter().map(|id| id.try_into().unwrap()).collect()
}

fn ids(events: &[Received]) -> Vec<OwnedEventId> {
    let ids = events.iter().map(|event| event.pdu.event_id().to_owned());
    ids.collect()
}

/// Sabotage: name all ends (an event of 25 is not built), name the oldest ones, or forget the ends
/// that are not named.
#[tokio::test]
async fn an_event_of_ours_follows_the_newest_of_many_ends() {
    let world = World::new(Storage::Embedded).await.unwrap();
    let room = Scattered::with_ends(&RoomVersionId::V11, ENDS).unwrap();
    feed(&world, &room, &room.root).await;
    feed(&world, &room, &room.ends).await;
    let scattered = ids(&room.ends);
    let before = ends(&world, &room).await;
    let (left, dummy) = (&scattered[..ENDS - NAMED], &before[ENDS - NAMED..]);
    assert_eq!(&before[..ENDS - NAMED], left, "a dummy event takes ten");

    let content = content_of(&json!({ "body": "x", "msgtype": "m.text" })).unwrap();
    let draft = Draft::message(room.ours.clone(), "m.room.message", content);
    let sent = world.rooms.send(&room.room_id, NewEvent::now(draft));
    let sent = sent.await.unwrap();

    let reader = world.rooms.reader();
    let event = reader.event(&room.room_id, &sent.event_id).await.unwrap();
    let event = event.unwrap();
    // The dummy event is deepest; of the others the last to arrive.
    let newest = &left[left.len() - (NAMED - dummy.len())..];
    assert_eq!(event.pdu.prev_events(), [newest, dummy].concat());
    let after = ends(&world, &room).await;
    let others = &left[..left.len() - newest.len()];
    assert_eq!(after, [others, &[sent.event_id]].concat());
    world.close().await;
}

/// Sabotage: send one at each arrival, none at all, or show it.
#[tokio::test]
async fn dummy_events_bring_ends_together_and_are_not_shown() {
    let world = World::new(Storage::Embedded).await.unwrap();
    let room = Scattered::with_ends(&RoomVersionId::V11, ENDS).unwrap();
    feed(&world, &room, &room.root).await;
    for portion in room.ends.chunks(NAMED) {
        feed(&world, &room, portion).await;
    }
    let (start, end) = (Position::BEGINNING, Position::END);
    let reader = world.rooms.reader();
    let all = reader.arrivals(&room.room_id, start, end, 1_000).await;
    let (dummies, others): (Vec<_>, Vec<_>) = all
        .unwrap()
        .events
        .into_iter()
        .partition(|event| is_dummy(&event.pdu));
    assert_eq!(dummies.len(), 1, "one a minute");
    assert_eq!(dummies[0].pdu.sender(), room.ours);
    assert_eq!(dummies[0].pdu.prev_events().len(), NAMED);
    let lens = reader.lens(&room.room_id, &room.ours, end).await.unwrap();
    assert!(!lens.sees(&dummies[0]));
    assert!(lens.sees(others.last().unwrap()));
    world.close().await;
}
