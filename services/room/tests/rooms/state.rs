//! State as of positions, against a model that is replayed from the timeline.

use std::collections::BTreeMap;

use hanse_log::Position;
use hanse_room::{StateAt, TimelineEvent};
use proptest::prelude::*;
use ruma::{OwnedRoomId, UserId};
use serde_json::json;

use crate::world::{World, user};

/// Keys to events.
type Model = BTreeMap<(String, String), String>;

#[derive(Clone, Debug)]
enum Step {
    Say,
    Set(u8, u8),
    Rename(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        Just(Step::Say),
        (0..3u8, 0..3u8).prop_map(|(kind, key)| Step::Set(kind, key)),
        (0..4u8).prop_map(Step::Rename),
    ];
    prop::collection::vec(step, 1..40)
}

fn model_at(timeline: &[TimelineEvent], at: Position) -> Model {
    let mut model = Model::new();
    for event in timeline.iter().filter(|event| event.position <= at) {
        if let Some(key) = event.pdu.state_key() {
            let key = (event.pdu.type_name().to_owned(), key.to_owned());
            model.insert(key, event.pdu.event_id().to_string());
        }
    }
    model
}

fn as_model(state: Vec<StateAt>) -> Model {
    let pair = |at: StateAt| ((at.event_type, at.state_key), at.event_id.to_string());
    state.into_iter().map(pair).collect()
}

async fn take(world: &World, room: &OwnedRoomId, ada: &UserId, step: &Step, number: usize) {
    match step {
        Step::Say => drop(world.say(room, ada, "hello").await),
        Step::Set(kind, key) => {
            let (kind, key) = (format!("org.hanse.{kind}"), format!("k{key}"));
            let content = json!({ "number": number });
            world.set(room, ada, (&kind, &key), content).await;
        }
        Step::Rename(who) => {
            let who = user(&format!("u{who}"));
            let content = json!({ "membership": "join", "displayname": number.to_string() });
            let key = ("m.room.member", who.as_str());
            world.set(room, &who, key, content).await;
        }
    }
}

async fn compare(world: &World, room: &OwnedRoomId) {
    let timeline = world.timeline(room).await;
    let last = model_at(&timeline, Position::END);
    for at in timeline.iter().map(|event| event.position) {
        let model = model_at(&timeline, at);
        let mut state = world.reader().plain_state(room, at).await.unwrap();
        assert!(state.iter().all(|at| at.event_type != "m.room.member"));
        state.extend(world.reader().members(room, at).await.unwrap());
        assert_eq!(as_model(state), model);
        for (event_type, key) in last.keys() {
            let value = world.reader().state(room, event_type, key, at).await;
            let value = value.unwrap().map(|value| value.event_id.to_string());
            let held = model.get(&(event_type.clone(), key.clone()));
            assert_eq!(value.as_ref(), held);
        }
        changes_agree(world, room, &timeline, at).await;
    }
    for (event_type, key) in last.keys() {
        let end = Position::END;
        let versions = world.reader().state_versions(room, event_type, key, end);
        let versions: Vec<_> = versions.await.unwrap();
        let held = versions.iter().filter_map(|(_, value)| value.as_ref());
        let versions: Vec<_> = held.map(|value| value.event_id.as_str()).collect();
        let of_key = |event: &&TimelineEvent| {
            event.pdu.type_name() == event_type && event.pdu.state_key() == Some(key)
        };
        let sent: Vec<_> = timeline.iter().filter(of_key).collect();
        let sent: Vec<_> = sent
            .iter()
            .map(|event| event.pdu.event_id().as_str())
            .collect();
        assert_eq!(versions, sent);
    }
}

/// The feed from here to the end, and up to here.
async fn changes_agree(
    world: &World,
    room: &OwnedRoomId,
    timeline: &[TimelineEvent],
    at: Position,
) {
    for (after, up_to) in [(Position::BEGINNING, at), (at, Position::END)] {
        let changes = world.reader().state_changes(room, after, up_to).await;
        let changes: Vec<_> = changes
            .unwrap()
            .into_iter()
            .map(|change| (change.event_id, change.previous_event_id))
            .collect();
        let within = timeline.iter().filter(|event| {
            event.pdu.is_state() && event.position > after && event.position <= up_to
        });
        let expected: Vec<_> = within
            .map(|event| {
                let before = Position::from_packed(event.position.packed() - 1);
                let (kind, key) = (event.pdu.type_name(), event.pdu.state_key().unwrap());
                let key = (kind.to_owned(), key.to_owned());
                let previous = model_at(timeline, before).get(&key).cloned();
                let previous = previous.map(|id| id.try_into().unwrap());
                (Some(event.pdu.event_id().to_owned()), previous)
            })
            .collect();
        assert_eq!(changes, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    /// Sabotage: read the current row for every position, skip the version's position, or put two
    /// keys into one row.
    #[test]
    fn state_is_what_the_timeline_says(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let ada = user("ada");
            let room = world.public_room(&ada).await;
            for (number, step) in steps.iter().enumerate() {
                take(&world, &room, &ada, step, number).await;
            }
            compare(&world, &room).await;
            world.close().await;
        });
    }
}
