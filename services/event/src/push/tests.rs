use ruma::{RoomVersionId, UInt, push::NewConditionalPushRule, push::NewPushRule};
use serde_json::json;

use super::*;
use crate::{
    power::power_levels,
    testing::{ALICE, BOB, Room, member, message, state, user},
};

const SILENT: Outcome = Outcome {
    notify: false,
    highlight: false,
};
const NOTIFY: Outcome = Outcome {
    notify: true,
    highlight: false,
};
const HIGHLIGHT: Outcome = Outcome {
    notify: true,
    highlight: true,
};

fn context(room: &Room, members: u32) -> PushConditionRoomCtx {
    let levels = room.get(&"m.room.power_levels".into(), "");
    let levels = power_levels(&room.events[0], levels.as_ref(), room.rules).unwrap();
    let id = room.events[0].room_id().to_owned();
    PushConditionRoomCtx::new(id, UInt::from(members), user(BOB), "Bob".to_owned())
        .with_power_levels(levels.into())
}

fn default_outcome(draft: crate::Draft) -> Outcome {
    let room = Room::new(&RoomVersionId::V11);
    let pdu = room.build(draft);
    evaluate(
        &pdu,
        &Ruleset::server_default(&user(BOB)),
        &context(&room, 3),
    )
}

fn content_rule(pattern: &str) -> Ruleset {
    serde_json::from_value(json!({ "content": [{
        "actions": ["notify", { "set_tweak": "highlight" }], "default": false, "enabled": true,
        "rule_id": "x", "pattern": pattern,
    }] }))
    .unwrap()
}

fn body(text: &str) -> crate::Draft {
    message(ALICE, json!({ "msgtype": "m.text", "body": text }))
}

#[test]
fn default_rules() {
    let eve = "@eve:evil.com";
    let mentions = |mentions: Value| json!({ "body": "x", "m.mentions": mentions });
    for (draft, outcome) in [
        (body("hello"), NOTIFY),
        (message(BOB, json!({ "body": "own" })), SILENT),
        (
            message(ALICE, json!({ "msgtype": "m.notice", "body": "x" })),
            SILENT,
        ),
        (
            message(ALICE, mentions(json!({ "user_ids": [ALICE, BOB] }))),
            HIGHLIGHT,
        ),
        (
            message(ALICE, mentions(json!({ "user_ids": [ALICE] }))),
            NOTIFY,
        ),
        (message(ALICE, mentions(json!({ "user_ids": BOB }))), NOTIFY),
        (message(ALICE, mentions(json!({ "room": true }))), HIGHLIGHT),
        (message(eve, mentions(json!({ "room": true }))), NOTIFY),
        (member(ALICE, BOB, "invite"), NOTIFY),
        (member(ALICE, eve, "invite"), SILENT),
        (state(ALICE, "m.room.tombstone", "", json!({})), HIGHLIGHT),
        (state(ALICE, "m.room.topic", "", json!({})), SILENT),
        (
            crate::Draft {
                event_type: "m.room.encrypted".into(),
                ..body("")
            },
            NOTIFY,
        ),
        (
            crate::Draft {
                event_type: "m.reaction".into(),
                ..body("")
            },
            SILENT,
        ),
        (
            message(
                ALICE,
                json!({ "body": "x", "m.relates_to": { "rel_type": "m.replace" } }),
            ),
            SILENT,
        ),
    ] {
        let said = format!("{draft:?}");
        assert_eq!(default_outcome(draft), outcome, "{said}");
    }
}

#[test]
fn a_room_of_two_matches_its_own_rule() {
    let room = Room::new(&RoomVersionId::V11);
    let pdu = room.build(body("hello"));
    let event = PushEvent::new(&pdu);
    let rules = Ruleset::server_default(&user(BOB));
    let matching = |members| {
        event
            .matching_rule(&rules, &context(&room, members))
            .unwrap()
            .rule_id()
    };
    assert_eq!(matching(2), ".m.rule.room_one_to_one");
    assert_eq!(matching(3), ".m.rule.message");
}

#[test]
fn creators_of_version_12_may_notify_the_room() {
    let room = Room::new(&RoomVersionId::V12);
    let pdu = room.build(message(
        ALICE,
        json!({ "body": "x", "m.mentions": { "room": true } }),
    ));
    let rules = Ruleset::server_default(&user(BOB));
    assert_eq!(evaluate(&pdu, &rules, &context(&room, 3)), HIGHLIGHT);
}

#[test]
fn keywords_match_words() {
    let room = Room::new(&RoomVersionId::V11);
    let outcome = |pattern: &str, text: &str| {
        evaluate(
            &room.build(body(text)),
            &content_rule(pattern),
            &context(&room, 3),
        )
    };
    assert_eq!(outcome("cake*lie", "the CAKE is a lie!"), HIGHLIGHT);
    assert_eq!(outcome("cake", "pancakes"), SILENT);
    assert_eq!(outcome("cake", "pancakes, cake"), HIGHLIGHT);
}

#[test]
fn disabled_and_unknown_rules_do_not_match() {
    let room = Room::new(&RoomVersionId::V11);
    let pdu = room.build(body("hello"));
    let mut rules = Ruleset::server_default(&user(BOB));
    rules
        .set_enabled(ruma::push::RuleKind::Underride, ".m.rule.message", false)
        .unwrap();
    assert_eq!(evaluate(&pdu, &rules, &context(&room, 3)), SILENT);
    let conditions = serde_json::from_value(json!([{ "kind": "org.example.x" }])).unwrap();
    let rule = NewConditionalPushRule::new("x".into(), conditions, vec![Action::Notify]);
    rules
        .insert(NewPushRule::Underride(rule), None, None)
        .unwrap();
    assert_eq!(evaluate(&pdu, &rules, &context(&room, 3)), SILENT);
}

#[test]
fn room_and_sender_rules() {
    let room = Room::new(&RoomVersionId::V11);
    let pdu = room.build(body("hello"));
    for (kind, rule_id) in [("room", pdu.room_id().as_str()), ("sender", ALICE)] {
        let rule = |id: &str| json!({ "rule_id": id, "actions": ["notify"], "default": false, "enabled": true });
        let rules = serde_json::from_value(json!({ (kind): [rule(rule_id)] })).unwrap();
        assert_eq!(evaluate(&pdu, &rules, &context(&room, 3)), NOTIFY, "{kind}");
    }
}

/// CVE-2021-29471. Also: ruma's own matcher panics on the first and overflows the stack on the
/// last of these.
#[test]
fn ghsa_x345_32rc_8h85_pathological_patterns_are_cheap() {
    let room = Room::new(&RoomVersionId::V11);
    let context = context(&room, 3);
    let (long, words) = ("a".repeat(60_000), "a1 ".repeat(20_000));
    for (pattern, text) in [
        ("?".repeat(60_000), &long),
        ("*a".repeat(250) + "b", &long),
        ("a?".repeat(200) + "*b", &long),
        ("*?".repeat(20_000), &long),
        ("a".to_owned(), &words),
    ] {
        let pdu = room.build(body(text));
        let outcome = evaluate(&pdu, &content_rule(&pattern), &context);
        assert_eq!(outcome, SILENT, "{}", &pattern[..1]);
    }
}
