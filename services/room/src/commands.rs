//! What is decided at a room's owner, and travels to it. A name is never another's; fields that are
//! added have defaults.

use hanse_cluster::{Command, Commands};
use hanse_event::{Draft, Pdu};
use hanse_log::Position;
use ruma::{CanonicalJsonObject, OwnedEventId, OwnedRoomId, OwnedUserId, RoomVersionId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::{
    Arrived, NewReceipt, RoomError, Rooms, Sent, Staged, Told,
    install::Step,
    receive::{BackfillEvents, ReceiveFetched, ReceiveOutliers},
    rooms::Change,
};

impl Rooms {
    /// Runs other processes' commands on the rooms that are served here.
    pub fn offer(&self, commands: &mut Commands) {
        commands.add::<_, ChangeRoom>(self);
        commands.add::<_, CreateRoom>(self);
        commands.add::<_, PutReceipt>(self);
        commands.add::<_, ReceiveEvents>(self);
        commands.add::<_, ReceiveOutliers>(self);
        commands.add::<_, ReceiveFetched>(self);
        commands.add::<_, BackfillEvents>(self);
        commands.add::<_, InstallState>(self);
        commands.add::<_, TakeMembership>(self);
        commands.add::<_, RejectMembership>(self);
        commands.add::<_, PublishRoom>(self);
        commands.add::<_, TellDevices>(self);
    }
}

/// An event, a membership or a redaction.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ChangeRoom {
    pub(crate) room_id: OwnedRoomId,
    pub(crate) change: Change,
}

impl Command<Rooms> for ChangeRoom {
    const NAME: &'static str = "room.change";
    type Done = Sent;
    type Refused = RoomError;

    fn key(&self) -> &str {
        self.room_id.as_str()
    }

    fn repeats_safely(&self) -> bool {
        match &self.change {
            Change::Event(event) => event.transaction.is_some(),
            Change::Redaction(redaction) => redaction.transaction.is_some(),
            Change::Membership(_) => false,
        }
    }

    async fn run(&self, rooms: &Rooms) -> Result<Sent, RoomError> {
        rooms.change_here(&self.room_id, &self.change).await
    }
}

/// The first events of a room.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CreateRoom {
    pub(crate) room_id: OwnedRoomId,
    pub(crate) version: RoomVersionId,
    pub(crate) create: SignedEvent,
    pub(crate) drafts: Vec<Draft>,
}

impl Command<Rooms> for CreateRoom {
    const NAME: &'static str = "room.create";
    type Done = ();
    type Refused = RoomError;

    fn key(&self) -> &str {
        self.room_id.as_str()
    }

    async fn run(&self, rooms: &Rooms) -> Result<(), RoomError> {
        rooms.inner.create_here(self).await
    }
}

/// Events from elsewhere, whose signatures and hashes were checked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReceiveEvents {
    pub(crate) room_id: OwnedRoomId,
    pub(crate) events: Vec<SignedEvent>,
}

impl Command<Rooms> for ReceiveEvents {
    const NAME: &'static str = "room.receive";
    type Done = Vec<Arrived>;
    type Refused = RoomError;

    fn key(&self) -> &str {
        self.room_id.as_str()
    }

    async fn run(&self, rooms: &Rooms) -> Result<Vec<Arrived>, RoomError> {
        rooms.inner.receive_here(&self.handed()).await
    }
}

/// A state that is staged, and the join that follows it: to be worked on for a while.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct InstallState {
    pub(crate) room_id: OwnedRoomId,
    pub(crate) staged: Staged,
    pub(crate) join: SignedEvent,
}

impl Command<Rooms> for InstallState {
    const NAME: &'static str = "room.install";
    type Done = Step;
    type Refused = RoomError;

    fn key(&self) -> &str {
        self.room_id.as_str()
    }

    fn repeats_safely(&self) -> bool {
        true
    }

    async fn run(&self, rooms: &Rooms) -> Result<Step, RoomError> {
        rooms.inner.install_step(self).await
    }
}

/// A membership of one of our users in a room that we are not in.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TakeMembership {
    pub(crate) room_id: OwnedRoomId,
    pub(crate) event: SignedEvent,
    /// Rebuilt: a JSON array.
    pub(crate) stripped_state: String,
}

impl Command<Rooms> for TakeMembership {
    const NAME: &'static str = "room.take_membership";
    type Done = Told;
    type Refused = RoomError;

    fn key(&self) -> &str {
        self.room_id.as_str()
    }

    fn repeats_safely(&self) -> bool {
        true
    }

    async fn run(&self, rooms: &Rooms) -> Result<Told, RoomError> {
        rooms.inner.take_membership_here(self).await
    }
}

/// The end of an invitation or a knock, without the room's servers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RejectMembership {
    pub(crate) room_id: OwnedRoomId,
    pub(crate) user_id: OwnedUserId,
    pub(crate) content: CanonicalJsonObject,
}

impl Command<Rooms> for RejectMembership {
    const NAME: &'static str = "room.reject_membership";
    type Done = Sent;
    type Refused = RoomError;

    fn key(&self) -> &str {
        self.room_id.as_str()
    }

    async fn run(&self, rooms: &Rooms) -> Result<Sent, RoomError> {
        rooms.inner.reject_here(self).await
    }
}

/// An event that is signed already.
#[derive(Clone, Debug)]
pub(crate) struct SignedEvent(pub(crate) Pdu);

#[derive(Serialize, Deserialize)]
struct SignedEventText {
    event_id: OwnedEventId,
    json: String,
}

impl Serialize for SignedEvent {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let text = SignedEventText {
            event_id: self.0.event_id().to_owned(),
            json: self.0.json().to_owned(),
        };
        text.serialize(to)
    }
}

impl<'de> Deserialize<'de> for SignedEvent {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let SignedEventText { event_id, json } = Deserialize::deserialize(from)?;
        let event = Pdu::from_stored(event_id, json).map_err(Error::custom)?;
        Ok(Self(event))
    }
}

/// A user has read up to an event.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PutReceipt {
    pub(crate) room_id: OwnedRoomId,
    pub(crate) receipt: NewReceipt,
}

impl Command<Rooms> for PutReceipt {
    const NAME: &'static str = "room.receipt";
    /// Its position, packed; none: it would go back.
    type Done = Option<i64>;
    type Refused = RoomError;

    fn key(&self) -> &str {
        self.room_id.as_str()
    }

    fn repeats_safely(&self) -> bool {
        true
    }

    async fn run(&self, rooms: &Rooms) -> Result<Option<i64>, RoomError> {
        let position = rooms.receipt_here(&self.room_id, self.receipt.clone());
        Ok(position.await?.map(Position::packed))
    }
}

/// A room's place in the directory.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PublishRoom {
    pub(crate) room_id: OwnedRoomId,
    pub(crate) public: bool,
}

impl Command<Rooms> for PublishRoom {
    const NAME: &'static str = "room.publish";
    type Done = ();
    type Refused = RoomError;

    fn key(&self) -> &str {
        self.room_id.as_str()
    }

    fn repeats_safely(&self) -> bool {
        true
    }

    async fn run(&self, rooms: &Rooms) -> Result<(), RoomError> {
        rooms.publish_here(&self.room_id, self.public).await
    }
}

/// A user's devices changed; all these rooms are of one slot.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TellDevices {
    pub(crate) user_id: OwnedUserId,
    pub(crate) room_ids: Vec<OwnedRoomId>,
    pub(crate) part: u32,
}

impl Command<Rooms> for TellDevices {
    const NAME: &'static str = "room.tell_devices";
    type Done = ();
    type Refused = RoomError;

    fn key(&self) -> &str {
        self.room_ids.first().map_or("", |room_id| room_id.as_str())
    }

    async fn run(&self, rooms: &Rooms) -> Result<(), RoomError> {
        rooms.tell_devices_here(self).await
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

    /// Red if a command is written as another version does not read it: a field is renamed, or there
    /// is one more that has no default (law 11). What is here was written by the first version.
    #[test]
    fn commands_of_the_first_version_are_read() {
        let (room_id, user) = ("!r:x", "@a:x");
        let transaction = json!({ "user_id": user, "device_id": "D", "scope": "s", "txn_id": "t" });
        let draft = json!({
            "sender": user, "event_type": "t", "state_key": null, "content": { "n": 1 }, "redacts": null,
        });
        let event = json!({ "draft": draft, "transaction": transaction, "timestamp": 7 });
        let membership = json!({
            "sender": user, "target": "@b:x", "action": "Kick", "content": {}, "transaction": null,
        });
        let redaction = json!({
            "sender": user, "event_id": "$e", "reason": "r", "transaction": null,
        });
        for change in [
            json!({ "Event": event }),
            json!({ "Membership": membership }),
            json!({ "Redaction": redaction }),
        ] {
            check::<ChangeRoom>(&json!({ "room_id": room_id, "change": change }));
        }
        let pdu = json!({
            "auth_events": [], "content": { "room_version": "11" }, "depth": 1, "hashes": { "sha256": "" },
            "origin_server_ts": 1, "prev_events": [], "room_id": room_id, "sender": user,
            "signatures": {}, "state_key": "", "type": "m.room.create",
        });
        check::<CreateRoom>(&json!({
            "room_id": room_id, "version": "11", "drafts": [draft],
            "create": { "event_id": "$c", "json": pdu.to_string() },
        }));
        check::<ReceiveEvents>(&json!({
            "room_id": room_id, "events": [{ "event_id": "$c", "json": pdu.to_string() }],
        }));
        check::<PutReceipt>(&json!({
            "room_id": room_id,
            "receipt": {
                "user_id": user, "receipt_type": "m.read", "thread_id": "", "event_id": "$e",
            },
        }));
        check::<InstallState>(&json!({
            "room_id": room_id,
            "staged": { "id": "s", "room_id": room_id, "version": "11", "events": 7 },
            "join": { "event_id": "$j", "json": pdu.to_string() },
        }));
        check::<TakeMembership>(&json!({
            "room_id": room_id, "event": { "event_id": "$c", "json": pdu.to_string() },
            "stripped_state": "[]",
        }));
        check::<RejectMembership>(&json!({
            "room_id": room_id, "user_id": user, "content": { "reason": "r" },
        }));
        check::<PublishRoom>(&json!({ "room_id": room_id, "public": true }));
        let told = json!({ "user_id": user, "room_ids": [room_id, "!s:x"], "part": 1 });
        check::<TellDevices>(&told);
    }
}
