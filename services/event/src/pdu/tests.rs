use std::collections::BTreeMap;

use ruma::{RoomVersionId, signatures::PublicKeyMap};
use serde_json::{Value, json};

use super::*;
use crate::{
    room_version::SUPPORTED,
    strict_json::Kind,
    testing::{ALICE, Room, key, keys, member, message, state},
};

fn text_message(room: &Room) -> Pdu {
    room.build(message(
        ALICE,
        json!({ "body": "hello", "msgtype": "m.text" }),
    ))
}

/// The event after a change of its fields, signatures as they were.
fn changed(pdu: &Pdu, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut event: Value = serde_json::from_str(pdu.json()).unwrap();
    change(&mut event);
    serde_json::to_vec(&event).unwrap()
}

fn received(room: &Room, json: &[u8]) -> Result<Received, ReceiveError> {
    Pdu::receive(json, room.rules)?.verify(&keys())
}

/// B6 class 18. Sabotage: hand out the event unredacted when the hash is wrong.
#[test]
fn a_wrong_content_hash_redacts_before_the_auth_rules_see_the_event() {
    for version in SUPPORTED {
        let room = Room::new(&version);
        let pdu = text_message(&room);
        let json = changed(&pdu, |event| event["content"]["body"] = json!("forged"));
        let found = received(&room, &json).unwrap();
        assert_eq!(found.integrity, Integrity::Redacted, "{version}");
        assert_eq!(found.pdu.content().get(), "{}");
        assert_eq!(found.pdu.event_id(), pdu.event_id());

        // The power levels' protected part cannot be changed at all: the signature covers it.
        let levels = room.get(&StateEventType::RoomPowerLevels, "").unwrap();
        let json = changed(&levels, |event| event["content"]["users"][ALICE] = json!(7));
        let error = received(&room, &json).unwrap_err();
        assert!(
            matches!(error, ReceiveError::Signature(_)),
            "{version}: {error:?}"
        );
    }
}

#[test]
fn every_needed_signature_must_be_there_and_right() {
    let room = Room::new(&RoomVersionId::V11);
    let pdu = text_message(&room);
    let json = pdu.json().as_bytes();
    let verified = |keys: &PublicKeyMap| Pdu::receive(json, room.rules).unwrap().verify(keys);
    verified(&keys()).unwrap();
    let other = crate::ServerKey::generate([9; 32], "a_test").unwrap();
    let set = BTreeMap::from([(other.key_id().to_owned(), other.public_key())]);
    let wrong = BTreeMap::from([("example.org".to_owned(), set)]);
    let elsewhere = BTreeMap::from([("evil.com".to_owned(), keys()["example.org"].clone())]);
    for keys in [PublicKeyMap::new(), wrong, elsewhere] {
        assert!(matches!(verified(&keys), Err(ReceiveError::Signature(_))));
    }
    for change in [
        json!({}),
        json!({ "example.org": {} }),
        json!({ "evil.com": {} }),
        json!(7),
    ] {
        let json = changed(&pdu, |event| event["signatures"] = change);
        assert!(received(&room, &json).is_err());
    }
    assert!(key().public_key() == keys()["example.org"]["ed25519:a_test"]);
}

/// A restricted join is vouched for by another server, whose signature is needed, too.
#[test]
fn a_vouched_join_needs_both_servers() {
    let room = Room::new(&RoomVersionId::V11);
    let content =
        json!({ "membership": "join", "join_authorised_via_users_server": "@x:other.org" });
    let pdu = room.build(state(
        "@b:example.org",
        "m.room.member",
        "@b:example.org",
        content,
    ));
    let unverified = Pdu::receive(pdu.json().as_bytes(), room.rules).unwrap();
    let servers: Vec<_> = unverified.signing_servers().unwrap().into_iter().collect();
    assert_eq!(servers, ["example.org", "other.org"]);
    assert!(matches!(
        unverified.verify(&keys()),
        Err(ReceiveError::Signature(_))
    ));
}

/// B6 classes 13 and 23: counts, sizes and numbers.
#[test]
fn events_of_the_wrong_format_are_dropped() {
    let room = Room::new(&RoomVersionId::V11);
    let pdu = room.build(member(ALICE, ALICE, "join"));
    let dropped = |field: &str, value: Value| {
        let json = changed(&pdu, |event| event[field] = value);
        Pdu::receive(&json, room.rules).unwrap_err()
    };
    let ids = |count| json!(vec!["$abc"; count]);
    for (field, value) in [
        ("prev_events", ids(21)),
        ("auth_events", ids(11)),
        ("auth_events", json!([7])),
        ("auth_events", json!([["$abc", {}]])),
        ("prev_events", json!(["$".to_owned() + &"x".repeat(255)])),
        ("prev_events", json!({})),
        ("depth", json!(-1)),
        ("depth", json!("1")),
        ("origin_server_ts", json!(-1)),
        ("origin_server_ts", json!(null)),
        ("state_key", json!(null)),
        ("state_key", json!("x".repeat(256))),
        ("type", json!("x".repeat(256))),
        ("sender", json!(7)),
        ("room_id", json!(null)),
        ("content", json!([])),
    ] {
        let error = dropped(field, value.clone());
        assert!(
            matches!(error, ReceiveError::Format(_)),
            "{field} {value}: {error:?}"
        );
    }
    for field in [
        "prev_events",
        "auth_events",
        "depth",
        "origin_server_ts",
        "type",
        "sender",
    ] {
        let json = changed(&pdu, |event| {
            drop(event.as_object_mut().unwrap().remove(field));
        });
        let error = Pdu::receive(&json, room.rules).unwrap_err();
        assert!(
            matches!(error, ReceiveError::Format(FormatError::Missing { .. })),
            "{field}"
        );
    }
    for (field, value, kind) in [
        (
            "depth",
            json!(9_007_199_254_741_000_i64),
            Kind::IntegerRange,
        ),
        ("depth", json!(1.5), Kind::Float),
        ("extra", json!({ "x": [1e10] }), Kind::Float),
    ] {
        let error = dropped(field, value);
        assert!(
            matches!(error, ReceiveError::Json(found) if found.kind == kind),
            "{field}"
        );
    }
    let json = changed(&pdu, |event| {
        event["content"]["x"] = json!("x".repeat(65_536));
    });
    let error = Pdu::receive(&json, room.rules).unwrap_err();
    assert!(matches!(error, ReceiveError::TooLarge { .. }), "{error:?}");
}

/// A malformed id in a field that means nothing here must not make the event unreadable, or
/// servers would disagree on the room.
#[test]
fn redacts_of_other_events_is_not_looked_at() {
    let room = Room::new(&RoomVersionId::V11);
    let pdu = room.build(message(ALICE, json!({ "redacts": { "x": 1 } })));
    assert!(pdu.redacts(&room.rules.redaction).is_none());
    assert!(Pdu::from_stored(pdu.event_id().to_owned(), pdu.json()).is_ok());
    let draft = crate::Draft {
        event_type: "m.room.redaction".into(),
        ..message(ALICE, json!({ "redacts": 7 }))
    };
    let pdu = room.build(draft);
    assert!(pdu.redacts(&room.rules.redaction).is_none());
}

#[test]
fn version_12_does_not_list_its_create_event() {
    let room = Room::new(&RoomVersionId::V12);
    let pdu = text_message(&room);
    let create = room.events[0].event_id().to_string();
    let json = changed(&pdu, |event| event["auth_events"] = json!([create]));
    let error = Pdu::receive(&json, room.rules).unwrap_err();
    assert!(
        matches!(error, ReceiveError::Format(FormatError::CreateInAuthEvents)),
        "{error:?}"
    );
}

/// Neither hash nor signature covers it, so anybody on the way may have written it.
#[test]
fn unsigned_of_peers_is_dropped() {
    let room = Room::new(&RoomVersionId::V11);
    let pdu = text_message(&room);
    let json = changed(&pdu, |event| {
        event["unsigned"] = json!({ "transaction_id": "x" });
    });
    let found = received(&room, &json).unwrap();
    assert_eq!((found.integrity, found.pdu), (Integrity::Intact, pdu));
}

/// The deepest content that a client may send makes an event that peers like us accept.
#[test]
fn the_deepest_content_passes_as_an_event() {
    let room = Room::new(&RoomVersionId::V11);
    let deep = (1..crate::limits::JSON_DEPTH_MAX).fold(json!({}), |inner, _| json!({ "a": inner }));
    let pdu = room.build(message(ALICE, deep));
    assert_eq!(
        received(&room, pdu.json().as_bytes()).unwrap().integrity,
        Integrity::Intact
    );
    assert_eq!(Pdu::parse(pdu.json(), room.rules).unwrap(), pdu);
}
