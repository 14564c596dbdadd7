use proptest::prelude::*;
use ruma::RoomVersionId;
use serde_json::{Value, json};

use super::*;
use crate::{
    Integrity, Pdu, ReceiveError, Received,
    limits::PDU_BYTES_MAX,
    pdu::FormatError,
    room_version::SUPPORTED,
    testing::{ALICE, Room, keys, message, state, ts},
};

fn every_version(check: impl Fn(&RoomVersionId)) {
    for version in SUPPORTED {
        check(&version);
    }
}

fn assert_received_as_it_is(room: &Room, pdu: &Pdu) {
    let unverified = Pdu::receive(pdu.json().as_bytes(), room.rules).unwrap();
    let servers: Vec<_> = unverified.signing_servers().unwrap().into_iter().collect();
    assert_eq!(servers, ["example.org"]);
    let received = unverified.verify(&keys()).unwrap();
    assert_eq!(received.integrity, Integrity::Intact);
    assert_same(&received.pdu, pdu);
}

fn assert_same(a: &Pdu, b: &Pdu) {
    assert_eq!(a, b);
    assert_eq!(
        (a.room_id(), a.sender(), a.type_name()),
        (b.room_id(), b.sender(), b.type_name())
    );
    assert_eq!((a.state_key(), a.depth()), (b.state_key(), b.depth()));
    assert_eq!(a.content().get(), b.content().get());
    assert_eq!(
        (a.prev_events(), a.auth_events()),
        (b.prev_events(), b.auth_events())
    );
    assert_eq!(a.origin_server_ts(), b.origin_server_ts());
    assert_eq!(a.redacts_anywhere(), b.redacts_anywhere());
}

/// Sabotage: leave a field out of `unsigned_event`, or write the JSON before the signature.
#[test]
fn own_events_pass_our_own_checks_in_every_version() {
    every_version(|version| {
        let mut room = Room::new(version);
        let text = room.send(message(
            ALICE,
            json!({ "body": "ü \u{1} \"", "msgtype": "m.text" }),
        ));
        let id = text.event_id().to_owned();
        room.send(Draft::redaction(
            ruma::user_id!("@alice:example.org").into(),
            id,
            None,
        ));
        for pdu in &room.events {
            assert_received_as_it_is(&room, pdu);
            assert_same(&Pdu::parse(pdu.json(), room.rules).unwrap(), pdu);
            assert_same(
                &Pdu::from_stored(pdu.event_id().to_owned(), pdu.json()).unwrap(),
                pdu,
            );
        }
    });
}

#[test]
fn redactions_name_their_event_where_the_version_wants_it() {
    every_version(|version| {
        let room = Room::new(version);
        let target = room.events[0].event_id().to_owned();
        let draft = Draft::redaction(
            crate::testing::user(ALICE),
            target.clone(),
            Some("x".into()),
        );
        let pdu = room.build(draft);
        assert_eq!(pdu.redacts(&room.rules.redaction), Some(&*target));
        let json: Value = serde_json::from_str(pdu.json()).unwrap();
        let in_content = room.rules.redaction.content_field_redacts;
        assert_eq!(
            json["content"]["redacts"].is_string(),
            in_content,
            "{version}"
        );
        assert_eq!(json["redacts"].is_string(), !in_content, "{version}");
    });
}

#[test]
fn version_12_derives_the_room_from_its_create_event() {
    let room = Room::new(&RoomVersionId::V12);
    let create = &room.events[0];
    assert_eq!(
        create.room_id().strip_sigil(),
        create.event_id().localpart()
    );
    assert!(!create.json().contains("room_id"));
    assert!(
        room.events
            .iter()
            .all(|pdu| pdu.room_id() == create.room_id())
    );
    assert!(
        room.events
            .iter()
            .all(|pdu| !pdu.auth_events().contains(&create.event_id().into()))
    );
}

#[test]
fn version_2_needs_the_hashes_of_what_it_refers_to() {
    let room = Room::new(&RoomVersionId::V2);
    let draft = message(ALICE, json!({}));
    let mut place = room.place(&draft);
    place.reference_hashes.clear();
    let error = build(draft, place, &room.key).unwrap_err();
    assert!(
        matches!(error, BuildError::ReferenceHash { .. }),
        "{error:?}"
    );
}

#[test]
fn the_longest_event_passes_and_one_byte_more_does_not() {
    let room = Room::new(&RoomVersionId::V11);
    let base = room
        .build(message(ALICE, json!({ "body": "" })))
        .json()
        .len();
    let filled = |bytes: usize| {
        let draft = message(ALICE, json!({ "body": "x".repeat(bytes - base) }));
        let place = room.place(&draft);
        build(draft, place, &room.key)
    };
    let longest = filled(PDU_BYTES_MAX).unwrap();
    assert_eq!(longest.json().len(), 65_536);
    assert_received_as_it_is(&room, &longest);
    let error = filled(PDU_BYTES_MAX + 1).unwrap_err();
    assert!(
        matches!(error, BuildError::TooLarge { bytes: 65_537 }),
        "{error:?}"
    );
    assert!(error.is_too_large());
    let error = filled(PDU_BYTES_MAX + 5_000).unwrap_err();
    assert!(matches!(error, BuildError::TooLarge { .. }), "{error:?}");
}

#[test]
fn types_and_state_keys_have_255_bytes_at_most() {
    let room = Room::new(&RoomVersionId::V11);
    let tried = |event_type: &str, state_key: &str| {
        let draft = state(ALICE, event_type, state_key, json!({}));
        let place = room.place(&draft);
        build(draft, place, &room.key)
    };
    tried(&"t".repeat(255), &"k".repeat(255)).unwrap();
    // 128 two-byte letters: bytes are counted, not letters.
    for (event_type, state_key, field) in [
        ("é".repeat(128), String::new(), "type"),
        ("t".into(), "é".repeat(128), "state_key"),
    ] {
        let error = tried(&event_type, &state_key).unwrap_err();
        assert!(error.is_too_large());
        let BuildError::Format(FormatError::FieldTooLong {
            field: found,
            bytes: 256,
        }) = error
        else {
            panic!("{error:?}")
        };
        assert_eq!(found, field);
    }
}

#[test]
fn reference_lists_and_depth_are_bounded() {
    let room = Room::new(&RoomVersionId::V11);
    let draft = message(ALICE, json!({}));
    let id = room.events[0].event_id().to_owned();
    let mut place = room.place(&draft);
    place.prev_events = vec![id.clone(); 21];
    assert!(build(draft.clone(), place, &room.key).is_err());
    let mut place = room.place(&draft);
    place.auth_events = vec![id; 11];
    assert!(build(draft.clone(), place, &room.key).is_err());
    let mut place = room.place(&draft);
    place.depth = u64::MAX;
    let pdu = build(draft, place, &room.key).unwrap();
    assert_eq!(pdu.depth(), 9_007_199_254_740_991);
    assert_received_as_it_is(&room, &pdu);
}

#[test]
fn create_sets_version_and_creator() {
    every_version(|version| {
        let draft = state(
            ALICE,
            "m.room.create",
            "",
            json!({ "room_version": "evil" }),
        );
        let key = crate::testing::key();
        let pdu = build_create(draft, version, "abc", ts(1), &key).unwrap();
        let content: Value = pdu.content_as().unwrap();
        assert_eq!(content["room_version"], version.as_str());
        let has_creator = !crate::room_version::rules(version)
            .unwrap()
            .authorization
            .use_room_create_sender;
        assert_eq!(content["creator"] == ALICE, has_creator, "{version}");
    });
}

#[test]
fn room_version_1_is_refused() {
    let draft = state(ALICE, "m.room.create", "", json!({}));
    let error = build_create(
        draft,
        &RoomVersionId::V1,
        "abc",
        ts(1),
        &crate::testing::key(),
    );
    assert!(matches!(error, Err(BuildError::RoomVersion(_))));
}

/// ruma's enum folds names; what a client wrote is what stands in the event.
#[test]
fn type_names_are_kept_letter_by_letter() {
    let room = Room::new(&RoomVersionId::V11);
    for name in [
        "org.matrix.call.sdp_stream_metadata_changed",
        "m.room.message",
        "com.example.x",
    ] {
        let pdu = room.build(Draft {
            event_type: name.into(),
            ..message(ALICE, json!({}))
        });
        assert_eq!(pdu.type_name(), name);
        assert!(pdu.json().contains(&format!(r#""type":"{name}""#)));
        assert_received_as_it_is(&room, &pdu);
    }
}

fn said_hello() -> Pdu {
    let room = Room::new(&RoomVersionId::V11);
    room.build(message(
        ALICE,
        json!({ "body": "hello", "msgtype": "m.text" }),
    ))
}

/// An event as it comes over the wire with one bit changed.
fn with_flipped(pdu: &Pdu, at: usize, bit: u8) -> Result<Received, ReceiveError> {
    let mut bytes = pdu.json().as_bytes().to_vec();
    bytes[at] ^= 1 << bit;
    let rules = crate::room_version::rules(&RoomVersionId::V11).unwrap();
    Pdu::receive(&bytes, rules)?.verify(&keys())
}

/// Where the last character of the only signature stands.
fn end_of_signature(pdu: &Pdu) -> usize {
    pdu.json().find(r#""}},"type":"#).unwrap() - 1
}

/// Each bit of an event in turn. The last of a signature's 86 characters holds four bits that are no
/// part of it: whatever these are, the event is the same and has the same id.
///
/// Sabotage: let `verify` skip the content hash, or the signature.
#[test]
fn a_flipped_bit_never_passes_as_intact() {
    let pdu = said_hello();
    let mut unused = 0;
    for (at, bit) in (0..pdu.json().len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let Ok(received) = with_flipped(&pdu, at, bit) else {
            continue;
        };
        let content = received.pdu.content().get();
        if received.integrity == Integrity::Redacted {
            assert_eq!(content, "{}", "bit {bit} of byte {at}");
            continue;
        }
        assert_eq!(at, end_of_signature(&pdu), "bit {bit}");
        assert_eq!(received.pdu.event_id(), pdu.event_id());
        assert_eq!(content, pdu.content().get());
        unused += 1;
    }
    assert!((1..=4).contains(&unused), "{unused} bits of no meaning");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_content_round_trips(body in ".{0,200}", number in -(1i64 << 53) + 1..1 << 53) {
        let room = Room::new(&RoomVersionId::V12);
        let pdu = room.build(message(ALICE, json!({ "body": body, "n": number, "z": { "a": [] } })));
        let received = Pdu::receive(pdu.json().as_bytes(), room.rules).unwrap().verify(&keys());
        prop_assert_eq!(&received.unwrap().pdu, &pdu);
        let content: Value = pdu.content_as().unwrap();
        prop_assert_eq!(&content["body"], &body);
    }
}
