//! The ways in which events from elsewhere are handed to a room's owner.

use hanse_cluster::Command;
use hanse_event::Pdu;
use ruma::{OwnedEventId, OwnedRoomId, RoomId};
use serde::{Deserialize, Serialize};

use crate::{
    Arrived, RoomError, Rooms,
    commands::{ReceiveEvents, SignedEvent},
};

/// Events of a room, each with the states that were fetched for it.
pub(crate) struct Handed<'a> {
    pub(super) room_id: &'a RoomId,
    pub(super) events: Vec<(&'a Pdu, &'a [Vec<OwnedEventId>])>,
    pub(super) way: Way,
}

/// What events are to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// New ones.
    Timeline,
    /// Parts of auth chains and of states.
    Outliers,
    /// Older ones.
    Backfill,
}

/// Parts of auth chains and of states, whose signatures and hashes were checked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReceiveOutliers {
    pub(super) room_id: OwnedRoomId,
    pub(super) events: Vec<SignedEvent>,
}

/// A new event, some of whose `prev_events` have not arrived.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReceiveFetched {
    pub(super) room_id: OwnedRoomId,
    pub(super) event: FetchedEvent,
}

/// Older events.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BackfillEvents {
    pub(super) room_id: OwnedRoomId,
    pub(super) events: Vec<FetchedEvent>,
}

/// An event with the states after those of its `prev_events` that have not arrived.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FetchedEvent {
    pub(super) event: SignedEvent,
    pub(super) states: Vec<Vec<OwnedEventId>>,
}

impl FetchedEvent {
    fn handed(&self) -> (&Pdu, &[Vec<OwnedEventId>]) {
        (&self.event.0, &self.states)
    }
}

fn without_states(events: &[SignedEvent]) -> Vec<(&Pdu, &[Vec<OwnedEventId>])> {
    let none: &[Vec<OwnedEventId>] = &[];
    events.iter().map(|event| (&event.0, none)).collect()
}

impl ReceiveEvents {
    pub(crate) fn handed(&self) -> Handed<'_> {
        Handed {
            room_id: &self.room_id,
            events: without_states(&self.events),
            way: Way::Timeline,
        }
    }
}

impl Command<Rooms> for ReceiveOutliers {
    const NAME: &'static str = "room.receive_outliers";
    type Done = Vec<Arrived>;
    type Refused = RoomError;

    fn key(&self) -> &str {
        self.room_id.as_str()
    }

    async fn run(&self, rooms: &Rooms) -> Result<Vec<Arrived>, RoomError> {
        let handed = Handed {
            room_id: &self.room_id,
            events: without_states(&self.events),
            way: Way::Outliers,
        };
        rooms.inner.receive_here(&handed).await
    }
}

impl Command<Rooms> for ReceiveFetched {
    const NAME: &'static str = "room.receive_fetched";
    type Done = Vec<Arrived>;
    type Refused = RoomError;

    fn key(&self) -> &str {
        self.room_id.as_str()
    }

    async fn run(&self, rooms: &Rooms) -> Result<Vec<Arrived>, RoomError> {
        let handed = Handed {
            room_id: &self.room_id,
            events: vec![self.event.handed()],
            way: Way::Timeline,
        };
        rooms.inner.receive_here(&handed).await
    }
}

impl Command<Rooms> for BackfillEvents {
    const NAME: &'static str = "room.backfill";
    type Done = Vec<Arrived>;
    type Refused = RoomError;

    fn key(&self) -> &str {
        self.room_id.as_str()
    }

    async fn run(&self, rooms: &Rooms) -> Result<Vec<Arrived>, RoomError> {
        let handed = Handed {
            room_id: &self.room_id,
            events: self.events.iter().map(FetchedEvent::handed).collect(),
            way: Way::Backfill,
        };
        rooms.inner.receive_here(&handed).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check<C: Command<Rooms>>(text: &Value) {
        let command: C = serde_json::from_value(text.clone())
            .unwrap_or_else(|error| panic!("{}: {error}", C::NAME));
        let again = serde_json::to_value(&command).unwrap();
        assert_eq!(again, *text, "{}", C::NAME);
    }

    /// Red if a command is written as another version does not read it (law 11).
    #[test]
    fn commands_of_the_first_version_are_read() {
        let room_id = "!r:x";
        let pdu = json!({
            "auth_events": [], "content": { "room_version": "11" }, "depth": 1,
            "hashes": { "sha256": "" }, "origin_server_ts": 1, "prev_events": [],
            "room_id": room_id, "sender": "@a:x", "signatures": {}, "state_key": "",
            "type": "m.room.create",
        });
        let event = json!({ "event_id": "$c", "json": pdu.to_string() });
        let fetched = json!({ "event": event, "states": [["$c"]] });
        check::<ReceiveOutliers>(&json!({ "room_id": room_id, "events": [event] }));
        check::<ReceiveFetched>(&json!({ "room_id": room_id, "event": fetched }));
        check::<BackfillEvents>(&json!({ "room_id": room_id, "events": [fetched] }));
    }
}
