//! Prints microseconds per built and signed message event, per auth check and per read of a stored
//! event. `cargo run --release -p hanse-event --example build_speed`.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement, with a clock and a terminal"
)]

use std::{collections::BTreeMap, hint::black_box, time::Instant};

use hanse_event::{Draft, Pdu, Placement, ServerKey, build, build_create, check_auth, content_of};
use ruma::{
    CanonicalJsonObject, MilliSecondsSinceUnixEpoch, RoomVersionId, UInt, events::StateEventType,
};
use serde_json::json;

const ROUNDS: u32 = 5_000;

type State = BTreeMap<(StateEventType, String), Pdu>;

fn main() {
    let key = ServerKey::generate([7; 32], "bench").unwrap();
    for version in [RoomVersionId::V6, RoomVersionId::V11, RoomVersionId::V12] {
        let state = room(&version, &key);
        let rules = hanse_event::room_version::rules(&version).unwrap();
        let content = content_of(&json!({ "msgtype": "m.text", "body": "x".repeat(200) })).unwrap();
        let draft = Draft::message(alice(), "m.room.message", content);
        let pdu = build(draft.clone(), place(&draft, &state, &version), &key).unwrap();
        let built = micros(|| {
            let draft = draft.clone();
            let place = place(&draft, &state, &version);
            black_box(build(draft, place, &key).unwrap());
        });
        let fetch = |event_type: &StateEventType, state_key: &str| {
            state
                .get(&(event_type.clone(), state_key.to_owned()))
                .cloned()
        };
        let checked = micros(|| check_auth(black_box(&pdu), rules, fetch).unwrap());
        let read = micros(|| {
            black_box(Pdu::from_stored(pdu.event_id().to_owned(), pdu.json()).unwrap());
        });
        println!(
            "version {version}, {} bytes: build+sign {built:.1} us, auth {checked:.1} us, \
             from_stored {read:.1} us",
            pdu.json().len()
        );
    }
}

fn alice() -> ruma::OwnedUserId {
    ruma::user_id!("@alice:example.org").to_owned()
}

fn micros(mut once: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..ROUNDS {
        once();
    }
    start.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS)
}

fn place(draft: &Draft, state: &State, version: &RoomVersionId) -> Placement<'static> {
    let rules = hanse_event::room_version::rules(version).unwrap();
    let create = state
        .get(&(StateEventType::RoomCreate, String::new()))
        .unwrap();
    let auth = draft.auth_types(rules).unwrap();
    Placement {
        room_id: create.room_id().to_owned(),
        rules,
        prev_events: vec![create.event_id().to_owned()],
        auth_events: auth
            .iter()
            .filter_map(|address| state.get(address))
            .map(|pdu| pdu.event_id().to_owned())
            .collect(),
        depth: 10,
        origin_server_ts: MilliSecondsSinceUnixEpoch(UInt::from(1_700_000_000u32)),
        reference_hashes: BTreeMap::new(),
    }
}

/// A room with power levels for 50 users.
fn room(version: &RoomVersionId, key: &ServerKey) -> State {
    let now = MilliSecondsSinceUnixEpoch(UInt::from(1u32));
    let mut state = State::new();
    let draft = Draft::state(alice(), "m.room.create", "", CanonicalJsonObject::new());
    let create = build_create(draft, version, "abcdefghijklmnopqr", now, key).unwrap();
    state.insert((StateEventType::RoomCreate, String::new()), create);
    let users: BTreeMap<_, _> = (0..50)
        .map(|n| (format!("@u{n}:example.org"), 50))
        .collect();
    for (event_type, state_key, content) in [
        (
            "m.room.member",
            "@alice:example.org",
            json!({ "membership": "join" }),
        ),
        ("m.room.power_levels", "", json!({ "users": users })),
    ] {
        let content = content_of(&content).unwrap();
        let draft = Draft::state(alice(), event_type, state_key, content);
        let place = place(&draft, &state, version);
        let pdu = build(draft, place, key).unwrap();
        state.insert((event_type.into(), state_key.to_owned()), pdu);
    }
    state
}
