use proptest::prelude::*;
use ruma::RoomVersionId;
use serde_json::{Value, json};

use super::*;
use crate::{
    Draft,
    room_version::SUPPORTED,
    testing::{ALICE, BOB, Room, message, state},
};

fn content_after(version: &RoomVersionId, draft: Draft) -> Value {
    let room = Room::new(version);
    let pdu = room.build(draft);
    redact(&pdu, room.rules, None)
        .unwrap()
        .content_as()
        .unwrap()
}

/// Sabotage: give the redacted event the id of its new hash of the wrong fields.
#[test]
fn the_id_is_kept_in_every_version() {
    for version in SUPPORTED {
        let room = Room::new(&version);
        let pdu = room.build(message(ALICE, json!({ "body": "secret" })));
        let redacted = redact(&pdu, room.rules, Some(&pdu)).unwrap();
        assert_eq!(redacted.event_id(), pdu.event_id());
        assert_eq!(
            Pdu::parse(redacted.json(), room.rules).unwrap().event_id(),
            pdu.event_id()
        );
        assert_eq!(redacted.content().get(), "{}");
    }
}

/// The keys that the room versions' pages list.
#[test]
fn content_keys_by_version() {
    let all = || {
        json!({
            "membership": "join", "displayname": "x", "join_authorised_via_users_server": BOB,
            "third_party_invite": { "display_name": "x", "signed": { "a": 1 } },
        })
    };
    for (version, kept) in [
        (RoomVersionId::V3, json!({ "membership": "join" })),
        (RoomVersionId::V8, json!({ "membership": "join" })),
        (
            RoomVersionId::V9,
            json!({ "membership": "join", "join_authorised_via_users_server": BOB }),
        ),
        (
            RoomVersionId::V11,
            json!({
                "membership": "join", "join_authorised_via_users_server": BOB,
                "third_party_invite": { "signed": { "a": 1 } },
            }),
        ),
    ] {
        let draft = state(ALICE, "m.room.member", ALICE, all());
        assert_eq!(content_after(&version, draft), kept, "{version}");
    }
    for (version, invite) in [(RoomVersionId::V10, false), (RoomVersionId::V11, true)] {
        let content = json!({ "invite": 1, "ban": 2, "notifications": { "room": 3 } });
        let draft = state(ALICE, "m.room.power_levels", "", content);
        let kept = content_after(&version, draft);
        assert_eq!(
            (kept.get("invite").is_some(), &kept["ban"]),
            (invite, &json!(2)),
            "{version}"
        );
        assert!(kept.get("notifications").is_none());
    }
    for (version, aliases) in [(RoomVersionId::V5, true), (RoomVersionId::V6, false)] {
        let draft = state(
            ALICE,
            "m.room.aliases",
            "example.org",
            json!({ "aliases": [] }),
        );
        assert_eq!(
            content_after(&version, draft).get("aliases").is_some(),
            aliases,
            "{version}"
        );
    }
}

/// Synapse #5701: redacting the create event turned the room into one of version 1.
#[test]
fn create_events_are_not_redacted() {
    for version in SUPPORTED {
        let room = Room::new(&version);
        let refused = redact(&room.events[0], room.rules, None);
        assert!(
            matches!(refused, Err(RedactError::CreateEvent)),
            "{version}"
        );
    }
}

/// Synapse 1.2.1: events that redact each other sent it into a loop. Here nothing follows
/// references, and what is embedded does not embed in turn.
#[test]
fn redactions_of_redactions_do_not_nest() {
    let room = Room::new(&RoomVersionId::V11);
    let target = room.events[1].event_id().to_owned();
    let a = room.build(Draft::redaction(crate::testing::user(ALICE), target, None));
    let mut redacted = a.clone();
    for _ in 0..50 {
        redacted = redact(&redacted, room.rules, Some(&a)).unwrap();
    }
    assert!(redacted.json().len() < 3 * a.json().len());
    let nested = redact(&a, room.rules, Some(&redacted)).unwrap();
    assert_eq!(nested.json().matches("redacted_because").count(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn redacting_twice_changes_nothing(body in ".{0,50}", version in 0..SUPPORTED.len()) {
        let room = Room::new(&SUPPORTED[version]);
        let pdu = room.build(message(ALICE, json!({ "body": body, "redacts": body })));
        let once = redact(&pdu, room.rules, None).unwrap();
        prop_assert_eq!(&redact(&once, room.rules, None).unwrap(), &once);
        prop_assert_eq!(once.sender(), pdu.sender());
        prop_assert_eq!(once.auth_events(), pdu.auth_events());
    }
}
