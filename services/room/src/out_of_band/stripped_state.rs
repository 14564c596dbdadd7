//! Stripped state of another server, rebuilt: nobody's clients get anything else from it ([spec]).
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#stripped-state

use hanse_event::{Pdu, client};
use ruma::OwnedUserId;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue as RawJsonValue, to_raw_value};

/// Events that are shown of a room that a user is not in.
const EVENTS_MAX: usize = 100;
/// Bytes of all of them: with the membership itself they fit into a batch.
const BYTES_MAX: usize = 32 * 1_024;

/// The four fields of a stripped event.
#[derive(Serialize, Deserialize)]
struct Stripped {
    #[serde(rename = "type")]
    event_type: String,
    state_key: String,
    sender: OwnedUserId,
    content: serde_json::Map<String, serde_json::Value>,
}

/// A JSON array: what is well-formed of the stripped state, as far as there is room, and the membership
/// itself.
pub(super) fn rebuilt(membership: &Pdu, events: &[Box<RawJsonValue>]) -> String {
    let own = client::stripped_state_event(membership);
    let own = own.and_then(|own| to_raw_value(&own).ok());
    let mut bytes = 0;
    let mut shown: Vec<Box<RawJsonValue>> = Vec::new();
    for event in events.iter().take(EVENTS_MAX) {
        let read = serde_json::from_str::<Stripped>(event.get()).ok();
        let read = read.filter(|event| !is(event, membership));
        let Some(event) = read.and_then(|event| to_raw_value(&event).ok()) else {
            continue;
        };
        bytes += event.get().len();
        if bytes > BYTES_MAX {
            break;
        }
        shown.push(event);
    }
    shown.extend(own);
    serde_json::to_string(&shown).unwrap_or_else(|_| "[]".to_owned())
}

/// Whether an event is the membership, or stands in its place.
fn is(event: &Stripped, membership: &Pdu) -> bool {
    event.event_type == membership.type_name()
        && Some(event.state_key.as_str()) == membership.state_key()
}
