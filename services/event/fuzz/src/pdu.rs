//! The PDU format, event ids, signatures, hashes and redaction.
//!
//! An input is a letter for the room version (`B` to `L`: 2 to 12), a byte for the size, and the text
//! of an event. What is of the right format is signed, since no search would ever guess a signature.

use std::{collections::BTreeMap, sync::LazyLock};

use hanse_event::{
    Integrity, Pdu, ReceiveError, RedactError,
    limits::{AUTH_EVENTS_MAX, INTEGER_MAX, PDU_BYTES_MAX, PREV_EVENTS_MAX},
    redact, room_version,
    strict_json::{Limits, canonical_object},
};
use ruma::{
    CanonicalJsonObject, UserId,
    room_version_rules::RoomVersionRules,
    serde::Base64,
    signatures::{Ed25519KeyPair, PublicKeyMap, hash_and_sign_event},
};
use serde_json::Value;

use crate::json::Survey;

mod format;
mod redacted;

use self::{format::Format, redacted::redacted};

/// What precedes the seed in a PKCS#8 document of an ed25519 key.
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// One key for every server.
static KEY: LazyLock<Ed25519KeyPair> = LazyLock::new(|| {
    let document = [PKCS8_PREFIX.as_slice(), &[7; 32]].concat();
    Ed25519KeyPair::from_der(&document, "f".to_owned()).expect("a key")
});

/// An event of the format is received whole, under an id that its text, its stored form and its
/// redacted form have, too; one that was tampered with is received redacted.
///
/// Sabotage: 21 `prev_events`, 256 bytes in a state key, one byte more in an event; leave `unsigned`
/// in; redact nothing, or the id; take a wrong hash for a right one.
///
/// True: an event was received whole.
pub fn check(input: &[u8]) -> bool {
    let [version, size, json @ ..] = input else {
        return false;
    };
    let index = usize::from(*version) % room_version::SUPPORTED.len();
    let rules = room_version::rules(&room_version::SUPPORTED[index]).expect("supported");
    let subject = Subject {
        rules,
        format: Format { version: index + 2 },
    };
    subject.check_format(json);
    let Ok(object) = canonical_object(json, Limits::PDU) else {
        return false;
    };
    let Some(signed) = subject.signed(object, *size) else {
        return false;
    };
    subject.check_signed(&signed)
}

/// The rules of a room version, as they are tested and as the oracle knows them.
struct Subject {
    rules: &'static RoomVersionRules,
    format: Format,
}

impl Subject {
    fn check_format(&self, json: &[u8]) {
        let survey = Survey::of(json).filter(|survey| survey.fits(json, Limits::PDU));
        let expected = survey.is_some_and(|survey| self.format.allows(&survey));
        let received = Pdu::receive(json, self.rules);
        assert_eq!(received.is_ok(), expected, "{:?}", received.err());
    }

    /// With the signatures that it needs. `None`: it is of the wrong format, or names nobody.
    fn signed(&self, mut object: CanonicalJsonObject, size: u8) -> Option<CanonicalJsonObject> {
        for dropped in ["hashes", "signatures", "unsigned"] {
            object.remove(dropped);
        }
        let signed = self.sign(object.clone())?;
        let Some(beyond) = size.checked_sub(0x80) else {
            return Some(signed);
        };
        // Signatures and hashes have the same length whatever is signed.
        let wanted = PDU_BYTES_MAX + usize::from(beyond) - 0x40;
        let bytes = text(&signed).len() + r#","":"""#.len() + PADDING.len();
        let padding = "x".repeat(wanted.checked_sub(bytes)?);
        let content = object.get_mut("content")?.as_object_mut()?;
        content.insert(PADDING.to_owned(), padding.into());
        self.sign(object)
    }

    fn sign(&self, mut object: CanonicalJsonObject) -> Option<CanonicalJsonObject> {
        let received = Pdu::receive(text(&object).as_bytes(), self.rules).ok()?;
        let mut servers = received.signing_servers().ok()?;
        // An invite by a third party needs no signature of the sender before it is redacted.
        let sender = object.get("sender")?.as_str()?;
        servers.insert(UserId::parse(sender).ok()?.server_name().to_owned());
        for server in &servers {
            let redaction = &self.rules.redaction;
            hash_and_sign_event(server.as_str(), &*KEY, &mut object, redaction).ok()?;
        }
        Some(object)
    }

    fn check_signed(&self, object: &CanonicalJsonObject) -> bool {
        let json = text(object);
        let Some(pdu) = self.received(&json, object) else {
            return false;
        };
        assert_eq!(pdu.json(), json, "its text is another");
        self.check_bounds(&pdu);
        self.check_same(&pdu);
        self.check_unsigned(&pdu, object);
        self.check_redacted(&pdu, object);
        self.check_tampered(&pdu, object);
        true
    }

    /// The event, if it may be received: then it must be, and whole.
    fn received(&self, json: &str, object: &CanonicalJsonObject) -> Option<Pdu> {
        let unverified = match Pdu::receive(json.as_bytes(), self.rules) {
            Ok(unverified) => unverified,
            Err(ReceiveError::TooLarge { bytes }) => {
                assert!(bytes > PDU_BYTES_MAX, "{bytes} bytes are not too many");
                return None;
            }
            Err(error) => panic!("signing made it unreadable: {error:?}"),
        };
        let mut counted = object.clone();
        counted.remove("unsigned");
        let bytes = text(&counted).len();
        assert!(bytes <= PDU_BYTES_MAX, "{bytes} bytes are too many");
        match unverified.verify(&keys(object)) {
            Ok(received) => {
                assert_eq!(received.integrity, Integrity::Intact, "its hash is right");
                Some(received.pdu)
            }
            Err(ReceiveError::Fields(error)) => {
                let value = serde_json::from_str(json).expect("JSON");
                assert!(!self.format.ids_are_valid(&value), "{error:?}");
                None
            }
            Err(error) => panic!("its signatures are right: {error:?}"),
        }
    }

    fn check_bounds(&self, pdu: &Pdu) {
        assert!(pdu.json().len() <= PDU_BYTES_MAX);
        assert!(pdu.prev_events().len() <= PREV_EVENTS_MAX);
        assert!(pdu.auth_events().len() <= AUTH_EVENTS_MAX);
        assert!(pdu.depth() <= INTEGER_MAX as u64);
        assert!(pdu.unsigned().is_none());
        let value = serde_json::from_str(pdu.json()).expect("JSON");
        assert!(self.format.ids_are_valid(&value), "an id that is none");
    }

    /// Its text reads back to itself, with and without its id.
    fn check_same(&self, pdu: &Pdu) {
        let parsed = Pdu::parse(pdu.json(), self.rules).expect("it was received");
        assert_eq!(parsed, *pdu, "parsed anew it is another event");
        let stored = Pdu::from_stored(pdu.event_id().to_owned(), pdu.json());
        let stored = stored.expect("it was received");
        assert_eq!(stored.room_id(), pdu.room_id());
        assert_eq!(stored.sender(), pdu.sender());
        assert_eq!(stored.type_name(), pdu.type_name());
        assert_eq!(stored.state_key(), pdu.state_key());
        assert_eq!(stored.content().get(), pdu.content().get());
        assert_eq!(stored.prev_events(), pdu.prev_events());
        assert_eq!(stored.auth_events(), pdu.auth_events());
        assert_eq!(stored.depth(), pdu.depth());
        assert_eq!(stored.origin_server_ts(), pdu.origin_server_ts());
    }

    /// What peers add outside of hash and signature is dropped.
    fn check_unsigned(&self, pdu: &Pdu, object: &CanonicalJsonObject) {
        let mut object = object.clone();
        let unsigned = CanonicalJsonObject::from([("age".to_owned(), true.into())]);
        object.insert("unsigned".to_owned(), unsigned.into());
        let received = self.received(&text(&object), &object);
        assert_eq!(
            received.as_ref(),
            Some(pdu),
            "`unsigned` makes a difference"
        );
    }

    fn check_redacted(&self, pdu: &Pdu, object: &CanonicalJsonObject) {
        let pruned = match redact(pdu, self.rules, None) {
            Ok(pruned) => pruned,
            Err(RedactError::CreateEvent) => {
                return assert_eq!(pdu.type_name(), "m.room.create");
            }
            Err(error) => panic!("it was signed in its redacted form: {error:?}"),
        };
        assert_eq!(pruned.event_id(), pdu.event_id());
        let parsed = Pdu::parse(pruned.json(), self.rules).expect("a redacted event");
        assert_eq!(
            parsed.event_id(),
            pdu.event_id(),
            "redaction changes the id"
        );
        let again = redact(&pruned, self.rules, None).expect("a redacted event");
        assert_eq!(again.json(), pruned.json(), "redacted twice is another");
        let read = |pdu: &Pdu| serde_json::from_str::<Value>(pdu.json()).expect("JSON");
        if let Some(expected) = redacted(&read(pdu), self.format.version) {
            assert_eq!(read(&pruned), expected, "redacted otherwise");
        }
        let received = Pdu::receive(pruned.json().as_bytes(), self.rules).expect("of the format");
        let received = received.verify(&keys(object));
        let received = received.expect("redaction keeps what is signed");
        assert_eq!(received.pdu.event_id(), pdu.event_id());
    }

    /// A key that nobody signed: the hash tells, and the event goes on without its content.
    fn check_tampered(&self, pdu: &Pdu, object: &CanonicalJsonObject) {
        let mut object = object.clone();
        let content = object
            .get_mut("content")
            .and_then(|content| content.as_object_mut());
        let content = content.expect("the format asks for it");
        if content.insert("T".to_owned(), true.into()).is_some() {
            return;
        }
        let received = Pdu::receive(text(&object).as_bytes(), self.rules);
        let Ok(received) = received.and_then(|unverified| unverified.verify(&keys(&object))) else {
            // No room for the key, or it is among what a redaction keeps, and so is signed.
            let keeps_all = pdu.type_name() == "m.room.create" && self.format.version >= 11;
            assert!(keeps_all || text(&object).len() > PDU_BYTES_MAX, "refused");
            return;
        };
        assert_eq!(
            received.integrity,
            Integrity::Redacted,
            "tampered with, and whole"
        );
        assert_eq!(received.pdu.event_id(), pdu.event_id());
        if let Ok(pruned) = redact(pdu, self.rules, None) {
            assert_eq!(received.pdu, pruned);
        }
    }
}

/// The key under which an event's content is filled up.
const PADDING: &str = "padding";

fn text(object: &CanonicalJsonObject) -> String {
    serde_json::to_string(object).expect("an object can be written")
}

/// The key of everybody who signed.
fn keys(object: &CanonicalJsonObject) -> PublicKeyMap {
    let key = Base64::new(KEY.public_key().to_vec());
    let set = BTreeMap::from([(format!("ed25519:{}", KEY.version()), key)]);
    let signatures = object
        .get("signatures")
        .and_then(|signatures| signatures.as_object());
    let servers = signatures.into_iter().flat_map(BTreeMap::keys);
    servers
        .map(|server| (server.clone(), set.clone()))
        .collect()
}
