//! Random event graphs, as a client sees them grow.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use hanse_graphs::Graph;
use hanse_log::Position;
use hanse_sync::SyncWorker;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use ruma::{OwnedUserId, RoomId, UserId};
use serde_json::Value;

use crate::world::{State, World, content, limit, request, sync};

/// Graphs; each is another room.
const GRAPHS: u64 = 40;

/// What a client that asks for `state_after` holds of a room.
#[derive(Default)]
struct Follower {
    token: Option<String>,
    /// None: it is not in the room.
    state: Option<State>,
}

impl Follower {
    /// One answer.
    async fn sync(&mut self, worker: &SyncWorker, user: &UserId, room: &RoomId) -> Value {
        let mut asked = request(self.token.as_deref(), limit(3), Duration::ZERO);
        asked.use_state_after = true;
        let answer = sync(worker, user, asked).await.unwrap();
        let told = content(&answer);
        self.token = Some(answer.next_batch);
        let rooms = &told["rooms"];
        if rooms["leave"].get(room.as_str()).is_some() {
            self.state = None;
        }
        if let Some(part) = rooms["join"].get(room.as_str()) {
            let state = self.state.get_or_insert_default();
            for event in part["state_after"]["events"]
                .as_array()
                .into_iter()
                .flatten()
            {
                let text = |field: &str| event[field].as_str().unwrap().to_owned();
                state.insert((text("type"), text("state_key")), text("event_id"));
            }
        }
        told
    }
}

/// Who of ours is in the room.
async fn membership(world: &World, user: &UserId, room: &RoomId) -> String {
    let reader = world.rooms.reader();
    let at = reader.state(room, "m.room.member", user.as_str(), Position::END);
    at.await
        .unwrap()
        .and_then(|at| at.membership)
        .unwrap_or_default()
}

async fn is_behind(world: &World, user: &UserId, room: &RoomId, follower: &Follower) -> bool {
    let is_in = membership(world, user, room).await == "join";
    let Some(known) = &follower.state else {
        return is_in;
    };
    let now = world.state(room).await;
    // What vanished cannot be told: the client keeps it.
    let has = |(key, id): (&(String, String), &String)| known.get(key) == Some(id);
    !is_in || !now.iter().all(has)
}

/// A client that takes the state from `state_after` alone has the state that the server has, whatever
/// the graph and whenever it asks; and memory says what the archives say.
///
/// Sabotage: do not follow what state resolution changes, or take a membership that it changes for
/// none; tell a value as of another moment than the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_state_after_has_the_state() {
    let world = World::new().await;
    let users: [OwnedUserId; 2] = [world.register("eve").await, world.register("fay").await];
    let mut resolved = 0;
    for seed in 0..GRAPHS {
        let graph = Graph::grow(seed).unwrap();
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let mut followers: BTreeMap<&UserId, Follower> = BTreeMap::new();
        let order: Vec<_> = graph.order(&mut dice).into_iter().cloned().collect();
        let mut rest = order.as_slice();
        while !rest.is_empty() {
            let (portion, later) = rest.split_at(dice.random_range(1..=rest.len().min(5)));
            rest = later;
            let received = world.rooms.receive(&graph.room_id, portion.to_vec());
            Box::pin(received).await.unwrap();
            for user in &users {
                let follower = followers.entry(user).or_default();
                let before = follower.token.clone();
                let mut told = follower.sync(&world.worker, user, &graph.room_id).await;
                for _ in 0..200 {
                    if !is_behind(&world, user, &graph.room_id, follower).await {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    told = follower.sync(&world.worker, user, &graph.room_id).await;
                }
                let behind = is_behind(&world, user, &graph.room_id, follower).await;
                assert!(!behind, "graph {seed}: {user} was told {told:#}");
                compare_with_archives(&world, user, before).await;
            }
        }
        resolved += resolved_in(&world, &graph.room_id).await;
    }
    let few = format!("resolution changed {resolved} keys in {GRAPHS} graphs");
    assert!(resolved as u64 > GRAPHS / 2, "{few}");
    world.close().await;
}

/// Without what is unread: counts begin at one's newest member event, also where one was in the room
/// before it, so they depend on when they were begun.
fn uncounted(mut content: Value) -> Value {
    for room in content["rooms"]["join"]
        .as_object_mut()
        .into_iter()
        .flatten()
    {
        if let Some(room) = room.1.as_object_mut() {
            room.remove("unread_notifications");
        }
    }
    content
}

/// Both hear of the last event a moment after it arrived: a membership comes to its user by the relay.
async fn eventually_equal(archives: impl AsyncFn() -> Value, memory: impl AsyncFn() -> Value) {
    for _ in 0..100 {
        if archives().await == memory().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(memory().await, archives().await, "memory and archives");
}

/// How many changes of the state no event of the timeline brought.
async fn resolved_in(world: &World, room: &RoomId) -> usize {
    let reader = world.rooms.reader();
    let (start, end) = (Position::BEGINNING, Position::END);
    let timeline = reader.arrivals(room, start, end, 9_000).await.unwrap();
    let events: BTreeSet<Position> = timeline.events.iter().map(|e| e.position).collect();
    let changes = reader.state_changes(room, start, end).await.unwrap();
    changes
        .iter()
        .filter(|change| !events.contains(&change.position))
        .count()
}

/// The same question to one who remembers and to one who does not.
async fn compare_with_archives(world: &World, user: &UserId, since: Option<String>) {
    for after in [false, true] {
        let asked = || {
            let mut asked = request(since.as_deref(), limit(3), Duration::ZERO);
            asked.use_state_after = after;
            asked
        };
        let told = async |worker: &SyncWorker| {
            let answer = sync(worker, user, asked()).await.unwrap();
            uncounted(content(&answer))
        };
        let archives = async || told(&world.fresh_worker()).await;
        let memory = async || told(&world.worker).await;
        eventually_equal(archives, memory).await;
    }
}
