use ruma::RoomVersionId;
use serde_json::json;

use super::*;
use crate::{
    Draft, Verdict,
    room_version::SUPPORTED,
    testing::{ALICE, BOB, Room, member, message, state},
};

const EVE: &str = "@eve:evil.com";

fn room_with_bob(version: &RoomVersionId) -> Room {
    let mut room = Room::new(version);
    room.send(member(BOB, BOB, "join"));
    room
}

fn allowed(room: &Room, draft: Draft) -> bool {
    room.allows(&room.build(draft)).is_ok()
}

#[test]
fn members_talk_and_others_do_not_in_every_version() {
    for version in SUPPORTED {
        let mut room = room_with_bob(&version);
        let topic = |sender| state(sender, "m.room.topic", "", json!({ "topic": "x" }));
        assert!(allowed(&room, message(BOB, json!({}))), "{version}");
        assert!(!allowed(&room, message(EVE, json!({}))), "{version}");
        assert!(
            allowed(&room, topic(ALICE)) && !allowed(&room, topic(BOB)),
            "{version}"
        );
        assert!(
            !allowed(&room, state(ALICE, "x", BOB, json!({}))),
            "{version}"
        );
        assert!(!allowed(&room, member(BOB, ALICE, "ban")), "{version}");
        room.send(member(ALICE, EVE, "ban"));
        assert!(!allowed(&room, member(EVE, EVE, "join")), "{version}");
        room.send(state(
            ALICE,
            "m.room.join_rules",
            "",
            json!({ "join_rule": "invite" }),
        ));
        assert!(!allowed(&room, member("@c:d", "@c:d", "join")), "{version}");
        room.send(member(BOB, "@c:d", "invite"));
        room.send(member("@c:d", "@c:d", "join"));
    }
}

#[test]
fn nobody_raises_power_above_their_own() {
    for version in SUPPORTED {
        let mut room = room_with_bob(&version);
        let creators_are_above = room.rules.authorization.explicitly_privilege_room_creators;
        let levels = |alice: i32, bob: i32, eve: i32| {
            let mut users = json!({ ALICE: alice, BOB: bob, EVE: eve });
            if creators_are_above {
                users.as_object_mut().unwrap().remove(ALICE);
            }
            json!({ "users": users, "events": { "m.room.power_levels": 50 } })
        };
        let set = |sender, content| state(sender, "m.room.power_levels", "", content);
        room.send(set(ALICE, levels(100, 50, 0)));
        assert!(allowed(&room, set(BOB, levels(100, 50, 50))), "{version}");
        assert!(!allowed(&room, set(BOB, levels(100, 50, 51))), "{version}");
        assert!(!allowed(&room, set(BOB, levels(100, 51, 0))), "{version}");
        assert_eq!(
            allowed(&room, set(BOB, levels(0, 50, 0))),
            creators_are_above,
            "{version}"
        );
    }
}

/// From room version 12 on nobody outranks a creator, and no level names one.
#[test]
fn creators_of_version_12_stand_above_all_levels() {
    let mut room = room_with_bob(&RoomVersionId::V12);
    let levels = |user: &str| {
        state(
            ALICE,
            "m.room.power_levels",
            "",
            json!({ "users": { user: 9_000 } }),
        )
    };
    assert!(!allowed(&room, levels(ALICE)));
    room.send(levels(BOB));
    assert!(!allowed(&room, member(BOB, ALICE, "ban")));
    assert!(allowed(&room, member(ALICE, BOB, "ban")));
}

/// Synapse 0.31.2 (#3397): without power levels anybody could set state.
#[test]
fn without_power_levels_only_the_creator_sets_state() {
    let mut room = Room::only_created(&RoomVersionId::V11, "abc");
    room.send(member(ALICE, ALICE, "join"));
    room.send(state(
        ALICE,
        "m.room.join_rules",
        "",
        json!({ "join_rule": "public" }),
    ));
    room.send(member(BOB, BOB, "join"));
    for (event_type, content) in [
        ("m.room.topic", json!({})),
        ("m.room.power_levels", json!({ "users": { BOB: 100 } })),
    ] {
        assert!(
            !allowed(&room, state(BOB, event_type, "", &content)),
            "{event_type}"
        );
        assert!(
            allowed(&room, state(ALICE, event_type, "", &content)),
            "{event_type}"
        );
    }
}

#[test]
fn the_first_event_is_the_only_create_event() {
    for version in SUPPORTED {
        let room = Room::new(&version);
        let again = room.build(state(
            ALICE,
            "m.room.create",
            "",
            json!({ "creator": ALICE }),
        ));
        assert!(room.allows(&again).is_err(), "{version}");
    }
}

#[test]
fn unfederated_rooms_are_for_their_server() {
    let mut room = Room::only_created(&RoomVersionId::V11, "abc");
    let draft = state(ALICE, "m.room.create", "", json!({ "m.federate": false }));
    let version = RoomVersionId::V11;
    let create =
        crate::build_create(draft, &version, "abc", crate::testing::ts(1), &room.key).unwrap();
    room.events.clear();
    room.keep(create);
    room.send(member(ALICE, ALICE, "join"));
    room.send(state(
        ALICE,
        "m.room.join_rules",
        "",
        json!({ "join_rule": "public" }),
    ));
    assert!(allowed(&room, member(BOB, BOB, "join")));
    assert!(!allowed(&room, member(EVE, EVE, "join")));
}

#[test]
fn a_membership_that_says_nothing_has_no_auth_types() {
    let rules = crate::room_version::rules(&RoomVersionId::V11).unwrap();
    let draft = state(ALICE, "m.room.member", ALICE, json!({ "membership": 7 }));
    assert!(draft.auth_types(rules).is_err());
    let draft = Draft {
        state_key: None,
        ..member(ALICE, ALICE, "join")
    };
    assert!(draft.auth_types(rules).is_err());
}

fn judged(room: &Room, pdu: Pdu) -> Verdict {
    let state = |event_type: &StateEventType, key: &str| room.get(event_type, key);
    judge(pdu, room.rules, |id| room.event(id), state, state)
}

#[test]
fn the_three_verdicts() {
    for version in SUPPORTED {
        let mut room = room_with_bob(&version);
        let before = room.fork();
        let pdu = room.build(message(BOB, json!({})));
        assert!(
            matches!(judged(&room, pdu.clone()), Verdict::Accepted(_)),
            "{version}"
        );

        // Bob has been banned meanwhile, on another branch.
        room.send(member(ALICE, BOB, "ban"));
        let then = |event_type: &StateEventType, key: &str| before.get(event_type, key);
        let now = |event_type: &StateEventType, key: &str| room.get(event_type, key);
        let verdict = judge(pdu.clone(), room.rules, |id| room.event(id), then, now);
        assert!(matches!(verdict, Verdict::SoftFailed(_)), "{version}");

        // Sent after the ban, with the auth events of before.
        let verdict = judge(pdu, room.rules, |id| room.event(id), now, now);
        let Verdict::Rejected(rejected) = verdict else {
            panic!("{version}")
        };
        assert!(
            rejected.reason.reason.contains("membership"),
            "{version}: {}",
            rejected.reason
        );
    }
}

/// Synapse 1.7.1: auth events of another room were taken.
#[test]
fn auth_events_of_another_room_reject() {
    for version in SUPPORTED {
        let room = room_with_bob(&version);
        let foreign = Room::only_created(&version, "other").furnished();
        let mut place = room.place(&message(ALICE, json!({})));
        let levels = |room: &Room| room.get(&StateEventType::RoomPowerLevels, "").unwrap();
        let stranger = levels(&foreign).event_id().to_owned();
        place
            .auth_events
            .retain(|id| id != levels(&room).event_id());
        place.auth_events.push(stranger.clone());
        place.reference_hashes.insert(stranger, "x".into());
        let pdu = crate::build(message(ALICE, json!({})), place, &room.key).unwrap();
        let fetch = |id: &EventId| room.event(id).or_else(|| foreign.event(id));
        let error = check_auth_events(&pdu, room.rules, fetch).unwrap_err();
        assert!(error.reason.contains("same room"), "{version}: {error}");
    }
}

/// GHSA-p9qp-c452-f9r7 (CVE-2022-39374): rejected events authorised others.
#[test]
fn ghsa_p9qp_c452_f9r7_rejected_auth_events_reject() {
    for version in SUPPORTED {
        let room = room_with_bob(&version);
        let pdu = room.build(message(BOB, json!({})));
        let bad = room.get(&StateEventType::RoomMember, BOB).unwrap();
        let fetch = |id: &EventId| {
            (id == bad.event_id())
                .then(|| Judged::Rejected(bad.clone()))
                .or_else(|| room.event(id))
        };
        let error = check_auth_events(&pdu, room.rules, fetch).unwrap_err();
        assert!(error.reason.contains("rejected"), "{version}: {error}");
    }
}

type Change<'a> = dyn Fn(&mut Vec<ruma::OwnedEventId>) + 'a;

#[test]
fn unexpected_missing_and_doubled_auth_events_reject() {
    let mut room = room_with_bob(&RoomVersionId::V11);
    let topic = room.send(state(ALICE, "m.room.topic", "", json!({})));
    let judged_with = |change: &Change| {
        let mut place = room.place(&message(BOB, json!({})));
        change(&mut place.auth_events);
        let pdu = crate::build(message(BOB, json!({})), place, &room.key).unwrap();
        judged(&room, pdu)
    };
    let changes: [&Change; 4] = [
        &|ids| ids.push(topic.event_id().to_owned()),
        &|ids| ids.push(ids[0].clone()),
        &|ids| ids.push("$unknown".try_into().unwrap()),
        &|ids| ids.clear(),
    ];
    for change in changes {
        assert!(matches!(judged_with(change), Verdict::Rejected(_)));
    }
    assert!(matches!(judged_with(&|_| ()), Verdict::Accepted(_)));
}

/// MSC4291: from version 12 on a room's id is the hash of its create event, so that nobody can
/// put another one in front.
#[test]
fn msc4291_a_forged_create_event_opens_another_room() {
    let room = Room::new(&RoomVersionId::V12);
    let draft = state(EVE, "m.room.create", "", json!({}));
    let version = RoomVersionId::V12;
    let forged =
        crate::build_create(draft, &version, "x", crate::testing::ts(1), &room.key).unwrap();
    assert_ne!(forged.room_id(), room.events[0].room_id());
    // An event of a room whose create event is not known, or was rejected.
    let pdu = room.build(message(ALICE, json!({})));
    let create = room.events[0].event_id();
    let unknown = |id: &EventId| room.event(id).filter(|_| id != create);
    assert!(check_auth_events(&pdu, room.rules, unknown).is_err());
    let rejected = |id: &EventId| {
        (id == create)
            .then(|| Judged::Rejected(room.events[0].clone()))
            .or_else(|| room.event(id))
    };
    assert!(check_auth_events(&pdu, room.rules, rejected).is_err());
}
