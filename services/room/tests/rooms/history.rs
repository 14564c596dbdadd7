//! Reading back: history in pages, arrivals with limits, over the edges of buckets.

use futures::future::join_all;
use hanse_log::Position;
use hanse_room::HistoryPoint;
use hanse_store::Direction;
use ruma::{OwnedEventId, RoomId};

use crate::world::{World, assert_chain, user};

async fn paged(
    world: &World,
    room: &RoomId,
    direction: Direction,
    limit: usize,
) -> Vec<OwnedEventId> {
    let mut from = match direction {
        Direction::Forward => HistoryPoint::START,
        Direction::Backward => HistoryPoint::END,
    };
    let mut ids = Vec::new();
    loop {
        let page = world
            .reader()
            .history(room, from, direction, Position::END, limit)
            .await
            .unwrap();
        assert!(page.events.len() <= limit);
        ids.extend(page.events.iter().map(|e| e.pdu.event_id().to_owned()));
        let Some(next) = page.next else { return ids };
        assert_eq!(page.events.len(), limit, "a page with a successor is full");
        // As a client would: through the token's text.
        from = next.to_string().parse().unwrap();
    }
}

/// Forward and backward.
async fn assert_pages(world: &World, room: &RoomId, limits: &[usize], order: &[OwnedEventId]) {
    for limit in limits {
        let forward = paged(world, room, Direction::Forward, *limit).await;
        assert!(forward == order, "forward in pages of {limit}");
        let mut backward = paged(world, room, Direction::Backward, *limit).await;
        backward.reverse();
        assert!(backward == order, "backward in pages of {limit}");
    }
}

/// Sabotage: take the edge of a page twice or not at all, walk the buckets in the wrong direction,
/// compute them instead of listing them, or never open the second one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_join_over_the_edges_of_buckets() {
    let world = World::new().await;
    let ada = user("ada");
    let room = world.public_room(&ada).await;
    let others = world.public_room(&ada).await;
    let order = |timeline: &[hanse_room::TimelineEvent]| -> Vec<_> {
        timeline
            .iter()
            .map(|e| e.pdu.event_id().to_owned())
            .collect()
    };
    for _ in 0..30 {
        futures::join!(world.say(&room, &ada, "a"), world.say(&others, &ada, "b"));
    }
    let few = order(&world.timeline(&room).await);
    assert_pages(&world, &room, &[1, 2, 3, 4, 5, 6, 7], &few).await;
    for _ in 0..11 {
        join_all((0..96).map(|_| world.say(&room, &ada, "many"))).await;
    }
    let timeline = world.timeline(&room).await;
    assert_eq!(timeline.len(), 36 + 11 * 96);
    assert_chain(&timeline);
    let all = order(&timeline);
    assert_pages(&world, &room, &[5, 7, 200], &all).await;
    arrivals_agree(&world, &room, &timeline).await;
    world.close().await;
}

/// Sabotage: stop at the first bucket, include `after`, or leave `up_to` out.
async fn arrivals_agree(world: &World, room: &RoomId, timeline: &[hanse_room::TimelineEvent]) {
    let reader = world.reader();
    for (from, to) in [(0, 20), (500, 530), (505, 1_060), (511, 512), (0, 1_091)] {
        let (after, up_to) = (timeline[from].position, timeline[to].position);
        for limit in [1, 7, to - from - 1, to - from, to - from + 1] {
            let limit = limit.max(1);
            let read = reader.arrivals(room, after, up_to, limit).await.unwrap();
            let first = to + 1 - limit.min(to - from);
            let expected = &timeline[first..=to];
            assert_eq!(read.limited, limit < to - from);
            let same = |(a, b): (&hanse_room::TimelineEvent, &hanse_room::TimelineEvent)| {
                a.position == b.position && a.pdu.json() == b.pdu.json()
            };
            assert_eq!(read.events.len(), expected.len());
            assert!(read.events.iter().zip(expected).all(same));
        }
    }
}
