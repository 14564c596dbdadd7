use ruma::{RoomVersionId, events::room::power_levels::UserPowerLevel, int};
use serde_json::{Value, json};

use super::*;
use crate::testing::{ALICE, BOB, Room, message, state, user};

const EVE: &str = "@eve:evil.com";

fn levels(room: &Room, content: Option<Value>) -> RoomPowerLevels {
    let pdu = content.map(|content| room.build(state(ALICE, "m.room.power_levels", "", content)));
    power_levels(&room.events[0], pdu.as_ref(), room.rules).unwrap()
}

#[test]
fn defaults_without_power_levels() {
    let room = Room::only_created(&RoomVersionId::V11, "abc");
    let levels = levels(&room, None);
    assert_eq!(levels.for_user(&user(ALICE)), int!(100));
    assert_eq!(levels.for_user(&user(BOB)), int!(0));
    assert!(levels.user_can_send_message(&user(BOB), "m.room.message".into()));
    assert!(!levels.user_can_send_state(&user(BOB), "m.room.name".into()));
    assert!(levels.user_can_invite(&user(BOB)));
    assert!(!levels.user_can_kick_user(&user(BOB), &user(EVE)));
}

#[test]
fn an_event_takes_the_creators_power_until_version_11_and_not_from_12_on() {
    for (version, level) in [
        (RoomVersionId::V6, UserPowerLevel::Int(int!(0))),
        (RoomVersionId::V11, UserPowerLevel::Int(int!(0))),
        (RoomVersionId::V12, UserPowerLevel::Infinite),
    ] {
        let room = Room::only_created(&version, "abc");
        let levels = levels(&room, Some(json!({ "users": { BOB: 50 } })));
        assert_eq!(levels.for_user(&user(ALICE)), level, "{version}");
        let outranked = levels.user_can_kick_user(&user(BOB), &user(ALICE));
        assert_eq!(outranked, level != UserPowerLevel::Infinite, "{version}");
    }
}

#[test]
fn levels_of_actions() {
    let room = Room::new(&RoomVersionId::V11);
    let levels = levels(
        &room,
        Some(json!({
            "users": { ALICE: 100, BOB: 40 }, "users_default": 5, "ban": 40, "kick": 41,
            "invite": 6, "redact": 39, "state_default": 41, "events_default": 5,
            "events": { "m.room.name": 40, "m.room.redaction": 5, "m.reaction": 6 },
            "notifications": { "room": 41 },
        })),
    );
    let (bob, eve) = (user(BOB), user(EVE));
    assert!(levels.user_can_ban_user(&bob, &eve) && !levels.user_can_ban_user(&bob, &user(ALICE)));
    assert!(!levels.user_can_kick_user(&bob, &eve));
    assert!(levels.user_can_invite(&bob) && !levels.user_can_invite(&eve));
    assert!(levels.user_can_send_state(&bob, "m.room.name".into()));
    assert!(!levels.user_can_send_state(&bob, "m.room.topic".into()));
    assert!(levels.user_can_send_message(&eve, "m.room.message".into()));
    assert!(!levels.user_can_send_message(&eve, "m.reaction".into()));
    assert!(!levels.user_can_trigger_room_notification(&bob));
}

#[test]
fn what_cannot_be_read_has_its_default() {
    let room = Room::new(&RoomVersionId::V11);
    let read = levels(
        &room,
        Some(json!({ "ban": "40", "users": 7, "notifications": { "x": 1 } })),
    );
    assert_eq!((read.ban, read.notifications.room), (int!(50), int!(50)));
    assert!(read.users.is_empty());
    let room = Room::new(&RoomVersionId::V9);
    assert_eq!(levels(&room, Some(json!({ "ban": "40" }))).ban, int!(40));
}

/// Synapse 1.2.1 (#5767): other servers redacted arbitrary events.
#[test]
fn redactions_need_power_or_the_same_server() {
    let room = Room::new(&RoomVersionId::V11);
    let levels = levels(&room, Some(json!({ "users": { BOB: 50 } })));
    let target = room.build(message(ALICE, json!({})));
    let redaction = |sender: &str| room.build(message(sender, json!({})));
    assert!(redaction_takes_effect(&levels, &redaction(BOB), &target));
    assert!(redaction_takes_effect(
        &levels,
        &redaction("@x:example.org"),
        &target
    ));
    assert!(!redaction_takes_effect(&levels, &redaction(EVE), &target));
    assert!(may_redact(&levels, &user(ALICE), &target) && may_redact(&levels, &user(BOB), &target));
    assert!(!may_redact(&levels, &user("@x:example.org"), &target));
}

/// Synapse 1.7.1 and after: nothing of one room acts on another.
#[test]
fn a_redaction_of_another_room_has_no_effect() {
    let room = Room::new(&RoomVersionId::V12);
    let other = Room::only_created(&RoomVersionId::V11, "abc");
    let levels = levels(&room, None);
    let redaction = room.build(message(ALICE, json!({})));
    assert!(!redaction_takes_effect(
        &levels,
        &redaction,
        &other.events[0]
    ));
}
