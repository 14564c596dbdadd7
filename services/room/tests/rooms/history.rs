//! Reading back: history in pages, arrivals with limits, over the edges of buckets.

use futures::future::join_all;
use hanse_log::Position;
use hanse_room::HistoryPoint;
use hanse_store::{Direction, Durability, Key, Mutation, StampedPut, Store};
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

/// Sabotage: list a room's buckets to the end before the first event is read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_events_are_read_without_listing_all_buckets() {
    const OLDER_BUCKETS: i64 = 1_000;
    let world = World::new().await;
    let ada = user("ada");
    let room = world.public_room(&ada).await;
    let last = world.say(&room, &ada, "the last").await;
    world.settle().await;
    let (before, up_to) = (Position::from_packed(i64::MIN), Position::END);
    let reads = async || {
        let before_reading = world.probe.reads();
        let read = world.reader().arrivals(&room, before, up_to, 2).await;
        let read = read.unwrap();
        let newest = read.events.last().unwrap().pdu.event_id().to_owned();
        assert_eq!((read.events.len(), newest), (2, last.event_id.clone()));
        world.probe.reads() - before_reading
    };
    let in_a_new_room = reads().await;
    let buckets = (1..=OLDER_BUCKETS).map(|n| older_bucket(&room, n));
    world
        .probe
        .apply(buckets.collect(), Durability::Buffered)
        .await
        .unwrap();
    let in_an_old_room = reads().await;
    eprintln!("rows read: {in_a_new_room}, with {OLDER_BUCKETS} older buckets {in_an_old_room}");
    assert!(in_an_old_room <= in_a_new_room + 16);
    // None is passed over.
    let all = world.reader().arrivals(&room, before, up_to, 100).await;
    assert_eq!(all.unwrap().events.len(), 7);
    assert!(world.probe.reads() > OLDER_BUCKETS as usize);
    world.close().await;
}

/// The row of a bucket of backfilled events.
fn older_bucket(room: &RoomId, number: i64) -> Mutation {
    let tables = hanse_room::tables();
    let buckets = tables.into_iter().find(|one| one.name == "room_buckets");
    Mutation::Put(StampedPut {
        table: buckets.unwrap(),
        key: Key::new(
            vec![room.as_str().into(), "arrival".into()],
            vec![(-1 - number).into()],
        ),
        values: vec![(-512 * number).into()],
        stamp: 1,
        expires_at_ms: None,
    })
}
