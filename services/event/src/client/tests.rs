use ruma::RoomVersionId;
use serde_json::{Value, json};

use super::*;
use crate::{
    Draft, redact,
    testing::{ALICE, BOB, Room, member, message, state, user},
};

fn json_of<T>(raw: &Raw<T>) -> Value {
    serde_json::from_str(raw.json().get()).unwrap()
}

#[test]
fn message_with_and_without_its_room() {
    let room = Room::new(&RoomVersionId::V11);
    let content = json!({ "body": "hi", "msgtype": "m.text" });
    let pdu = room.build(message(ALICE, content.clone()));
    let expected = json!({
        "content": content,
        "event_id": pdu.event_id(),
        "origin_server_ts": pdu.origin_server_ts(),
        "sender": ALICE,
        "type": "m.room.message",
    });
    assert_eq!(
        json_of(&sync_timeline_event(&pdu, &Unsigned::default())),
        expected
    );
    let mut with_room = expected;
    with_room["room_id"] = json!(pdu.room_id());
    assert_eq!(
        json_of(&timeline_event(&pdu, &Unsigned::default())),
        with_room
    );
    timeline_event(&pdu, &Unsigned::default())
        .deserialize()
        .unwrap();
}

#[test]
fn create_events_of_version_12_name_their_room_to_clients() {
    let room = Room::new(&RoomVersionId::V12);
    let event = json_of(&state_event(&room.events[0], &Unsigned::default()));
    assert_eq!(event["room_id"], room.events[0].room_id().as_str());
    assert_eq!(event["state_key"], "");
}

#[test]
fn unsigned_says_what_it_is_given() {
    let mut room = Room::new(&RoomVersionId::V11);
    let before = room.send(member(BOB, BOB, "join"));
    let pdu = room.build(member(ALICE, BOB, "ban"));
    let transaction_id = <&TransactionId>::from("t1");
    let unsigned = Unsigned {
        age: Some(ruma::int!(12)),
        transaction_id: Some(transaction_id),
        membership: Some(MembershipState::Join),
        ..Unsigned::default()
    };
    let event = json_of(&sync_state_event(&pdu, &unsigned.replacing(Some(&before))));
    assert_eq!(
        event["unsigned"],
        json!({
            "age": 12, "transaction_id": "t1", "membership": "join",
            "prev_content": { "membership": "join" }, "prev_sender": BOB,
            "replaces_state": before.event_id(),
        })
    );
}

#[test]
fn stripped_state_has_four_fields() {
    let room = Room::new(&RoomVersionId::V11);
    let pdu = room.build(state(ALICE, "m.room.name", "", json!({ "name": "x" })));
    assert_eq!(
        json_of(&stripped_state_event(&pdu).unwrap()),
        json!({ "content": { "name": "x" }, "sender": ALICE, "state_key": "", "type": "m.room.name" })
    );
    assert!(stripped_state_event(&room.build(message(ALICE, json!({})))).is_none());
}

#[test]
fn redactions_carry_their_target_in_both_places_in_every_version() {
    for version in [RoomVersionId::V10, RoomVersionId::V11] {
        let room = Room::new(&version);
        let target = room.events[1].event_id().to_owned();
        let draft = Draft::redaction(user(ALICE), target.clone(), Some("spam".into()));
        let event = json_of(&timeline_event(&room.build(draft), &Unsigned::default()));
        assert_eq!(event["redacts"], target.as_str(), "{version}");
        assert_eq!(
            event["content"],
            json!({ "reason": "spam", "redacts": target }),
            "{version}"
        );
    }
}

#[test]
fn redacted_events_say_why() {
    let mut room = Room::new(&RoomVersionId::V11);
    let target = room.send(message(ALICE, json!({ "body": "oops" })));
    let because = room.send(Draft::redaction(
        user(ALICE),
        target.event_id().to_owned(),
        None,
    ));
    let redacted = redact(&target, room.rules, Some(&because)).unwrap();
    let event = json_of(&sync_timeline_event(&redacted, &Unsigned::default()));
    assert_eq!(event["content"], json!({}));
    let found = &event["unsigned"]["redacted_because"];
    assert_eq!(found["event_id"], because.event_id().as_str());
    assert_eq!(found["room_id"], because.room_id().as_str());
    sync_timeline_event(&redacted, &Unsigned::default())
        .deserialize()
        .unwrap();
}

/// What a peer put there is not ours to tell.
#[test]
fn other_unsigned_fields_of_the_event_are_left_out() {
    let room = Room::new(&RoomVersionId::V11);
    let pdu = room.build(message(ALICE, json!({})));
    let json = pdu.json().strip_suffix('}').unwrap().to_owned();
    let json = json + r#","unsigned":{"age":1,"x":2}}"#;
    let pdu = Pdu::from_stored(pdu.event_id().to_owned(), json).unwrap();
    assert!(pdu.unsigned().is_some());
    assert!(
        json_of(&timeline_event(&pdu, &Unsigned::default()))
            .get("unsigned")
            .is_none()
    );
}
