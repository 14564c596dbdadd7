//! Rooms that another process serves.

use hanse_event::{Draft, content_of};
use hanse_log::{AppendError, Position};
use hanse_room::{
    MembershipAction, MembershipChange, NewEvent, NewReceipt, NewRoom, Redaction, RoomError, Sent,
    TransactionKey,
};
use ruma::{
    CanonicalJsonObject, OwnedRoomId, RoomId, UserId,
    api::client::room::create_room::v3::{Request, RoomPreset},
    events::{StateEventType, receipt::ReceiptType},
    owned_event_id,
};
use serde_json::json;

use crate::world::{Process, World, drain, user};

pub(crate) fn message(sender: &UserId, text: &str) -> Draft {
    let content = content_of(&json!({ "msgtype": "m.text", "body": text })).unwrap();
    Draft::message(sender.to_owned(), "m.room.message", content)
}

pub(crate) fn transaction(sender: &UserId, txn_id: &str) -> TransactionKey {
    TransactionKey {
        user_id: sender.to_string(),
        device_id: "D".to_owned(),
        scope: "send/m.room.message".to_owned(),
        txn_id: txn_id.to_owned(),
    }
}

impl Process {
    pub(crate) async fn create_room(
        &self,
        creator: &UserId,
        change: impl FnOnce(&mut Request),
    ) -> Result<OwnedRoomId, RoomError> {
        let mut request = Request::new();
        request.preset = Some(RoomPreset::PublicChat);
        change(&mut request);
        let new = NewRoom {
            creator: creator.to_owned(),
            profile: CanonicalJsonObject::new(),
            alias: None,
            request,
        };
        self.room(|rooms| async move { rooms.create(new).await })
            .await
    }

    /// A room that the owner serves.
    pub(crate) async fn room_at(&self, owner: &Self, creator: &UserId) -> OwnedRoomId {
        for _ in 0..200 {
            let room = self.create_room(creator, |_| {}).await.unwrap();
            if owner.serves(room.as_str()) {
                return room;
            }
        }
        panic!("no room at {}", owner.id)
    }

    pub(crate) async fn send(&self, room: &RoomId, event: NewEvent) -> Result<Sent, RoomError> {
        let room = room.to_owned();
        self.room(|rooms| async move { rooms.send(&room, event).await })
            .await
    }

    async fn member(
        &self,
        room: &RoomId,
        (sender, target): (&UserId, &UserId),
        action: MembershipAction,
    ) -> Result<Sent, RoomError> {
        let room = room.to_owned();
        let change = MembershipChange {
            sender: sender.to_owned(),
            target: target.to_owned(),
            action,
            content: CanonicalJsonObject::new(),
            transaction: None,
        };
        self.room(|rooms| async move { rooms.change_membership(&room, change).await })
            .await
    }

    async fn redact(&self, room: &RoomId, redaction: Redaction) -> Result<Sent, RoomError> {
        let room = room.to_owned();
        self.room(|rooms| async move { rooms.redact(&room, redaction).await })
            .await
    }

    async fn receipt(
        &self,
        room: &RoomId,
        receipt: NewReceipt,
    ) -> Result<Option<Position>, RoomError> {
        let room = room.to_owned();
        self.room(|rooms| async move { rooms.receipt(&room, receipt).await })
            .await
    }

    async fn publish(&self, room: &RoomId, public: bool) {
        let room = room.to_owned();
        let published = self.room(|rooms| async move { rooms.publish(&room, public).await });
        published.await.unwrap();
    }

    /// The texts and types of the whole timeline, as this process reads it up to what it shows.
    async fn timeline(&self, room: &RoomId) -> Vec<String> {
        let shown = self.logs.applied(self.logs.slot_of(room.as_str()));
        self.timeline_up_to(room, shown).await
    }

    /// The same up to a position.
    pub(crate) async fn timeline_up_to(&self, room: &RoomId, shown: Position) -> Vec<String> {
        let reader = self.rooms.reader();
        let page = reader.arrivals(room, Position::BEGINNING, shown, 9_000);
        let events = page.await.unwrap().events.into_iter();
        let text = |content: serde_json::Value| content["body"].as_str().map(str::to_owned);
        events
            .map(|event| {
                let content = event.pdu.content_as().unwrap();
                text(content).unwrap_or_else(|| event.pdu.type_name().to_owned())
            })
            .collect()
    }
}

/// Red if any change of a room is decided where the room is not served, gives another answer from
/// there, or is not seen where it was asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_of_a_room_gives_the_same_answer_elsewhere() {
    let world = World::new();
    let [a, b] = world.processes().await;
    every_change(&a, &a).await;
    every_change(&a, &b).await;
    every_change(&b, &a).await;
    drain([a, b]).await;
}

async fn every_change(caller: &Process, owner: &Process) {
    let (ada, ben) = (user("ada"), user("ben"));
    let room = caller.room_at(owner, &ada).await;
    events(caller, &room, &ada).await;
    memberships(caller, &room, &ada, &ben).await;
    redactions(caller, &room, &ada, &ben).await;
    receipts(caller, &room, &ada).await;
    publish(caller, &room).await;
    refusals(caller, owner, &room, &ada).await;
}

async fn events(caller: &Process, room: &RoomId, ada: &UserId) {
    let event = || NewEvent {
        transaction: Some(transaction(ada, "t1")),
        ..NewEvent::now(message(ada, "once"))
    };
    let sent = caller.send(room, event()).await.unwrap();
    let again = caller.send(room, event()).await.unwrap();
    assert_eq!(sent.event_id, again.event_id, "a repeated transaction");
    assert!(again.position >= sent.position);
    let topic = content_of(&json!({ "topic": "t" })).unwrap();
    let topic = Draft::state(ada.to_owned(), "m.room.topic", "", topic);
    let topic = caller.send(room, NewEvent::now(topic)).await.unwrap();
    let head = caller.rooms.reader().head(room).await.unwrap().unwrap();
    assert_eq!(head.head.forward_extremities, [topic.event_id.to_string()]);
    let timeline = caller.timeline(room).await;
    assert_eq!(timeline[timeline.len() - 2..], ["once", "m.room.topic"]);
}

async fn memberships(caller: &Process, room: &RoomId, ada: &UserId, ben: &UserId) {
    use MembershipAction as A;
    let own = (ben, ben);
    caller.member(room, own, A::Join).await.unwrap();
    let joined = caller.rooms.reader().user_room(ben, room).await.unwrap();
    assert_eq!(joined.unwrap().membership.to_string(), "join");
    caller.member(room, (ada, ben), A::Ban).await.unwrap();
    let banned = caller.member(room, own, A::Join).await.unwrap_err();
    assert!(
        matches!(&banned, RoomError::Forbidden { reason } if reason.contains("banned")),
        "{banned}"
    );
    caller.member(room, (ada, ben), A::Unban).await.unwrap();
    let unban = caller.member(room, (ada, ben), A::Unban).await;
    assert!(matches!(unban, Err(RoomError::Forbidden { .. })));
    caller.member(room, own, A::Join).await.unwrap();
}

async fn redactions(caller: &Process, room: &RoomId, ada: &UserId, ben: &UserId) {
    let bad = caller
        .send(room, NewEvent::now(message(ada, "bad")))
        .await
        .unwrap();
    let redaction = |sender: &UserId| Redaction {
        sender: sender.to_owned(),
        event_id: bad.event_id.clone(),
        reason: None,
        transaction: None,
    };
    let refused = caller.redact(room, redaction(ben)).await;
    assert!(matches!(refused, Err(RoomError::Forbidden { .. })));
    caller.redact(room, redaction(ada)).await.unwrap();
    assert!(!caller.timeline(room).await.contains(&"bad".to_owned()));
    let unknown = Redaction {
        event_id: owned_event_id!("$none"),
        ..redaction(ada)
    };
    let unknown = caller.redact(room, unknown).await;
    assert!(matches!(unknown, Err(RoomError::UnknownEvent { .. })));
}

async fn receipts(caller: &Process, room: &RoomId, ada: &UserId) {
    let read = caller
        .send(room, NewEvent::now(message(ada, "read")))
        .await
        .unwrap();
    let receipt = || NewReceipt {
        user_id: ada.to_owned(),
        receipt_type: ReceiptType::Read,
        thread_id: String::new(),
        event_id: read.event_id.clone(),
    };
    let position = caller.receipt(room, receipt()).await.unwrap().unwrap();
    assert!(position > read.position);
    let again = caller.receipt(room, receipt()).await.unwrap();
    assert_eq!(again, None, "it would go back");
    let own = caller.rooms.reader().own_receipts(room, ada).await.unwrap();
    assert!(own.iter().any(|held| held.event_position == read.position));
}

async fn publish(caller: &Process, room: &RoomId) {
    for public in [true, false] {
        caller.publish(room, public).await;
        let listed = caller.rooms.reader().is_published(room).await.unwrap();
        assert_eq!(listed, public);
    }
}

async fn refusals(caller: &Process, owner: &Process, room: &RoomId, ada: &UserId) {
    let stranger = user("stranger");
    let event = NewEvent::now(message(&stranger, "hello"));
    let forbidden = caller.send(room, event).await;
    assert!(matches!(forbidden, Err(RoomError::Forbidden { .. })));
    let large = NewEvent::now(message(ada, &"x".repeat(70_000)));
    let large = caller.send(room, large).await;
    assert!(
        matches!(large, Err(RoomError::TooLarge { .. })),
        "{large:?}"
    );
    let nowhere = owner.name(|at| format!("!nowhere{at}:hanse.test"));
    let nowhere = OwnedRoomId::try_from(nowhere).unwrap();
    let event = NewEvent::now(message(ada, "hello"));
    let unknown = caller.send(&nowhere, event).await.unwrap_err();
    assert!(
        matches!(&unknown, RoomError::UnknownRoom { room_id } if *room_id == nowhere),
        "{unknown}"
    );
}

/// Red if a new room's bounds are lost on the way to its owner, or its version.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_rooms_are_the_same_wherever_they_are_served() {
    let world = World::new();
    let [a, b] = world.processes().await;
    let ada = user("ada");
    let mut at = [0, 0];
    for _ in 0..20 {
        let large = a
            .create_room(&ada, |request| request.topic = Some("x".repeat(70_000)))
            .await;
        assert!(
            matches!(large, Err(RoomError::TooLarge { .. })),
            "{large:?}"
        );
        let room = a
            .create_room(&ada, |request| {
                request.room_version = Some("12".try_into().unwrap());
                request.name = Some("n".to_owned());
            })
            .await
            .unwrap();
        at[usize::from(b.serves(room.as_str()))] += 1;
        let head = a.rooms.reader().head(&room).await.unwrap().unwrap();
        assert_eq!(head.head.room_version, "12");
        let name = a
            .rooms
            .reader()
            .state_event(&room, "m.room.name", "", Position::END);
        assert!(name.await.unwrap().is_some());
        let timeline = a.timeline(&room).await;
        assert_eq!(timeline[..2], ["m.room.create", "m.room.member"]);
    }
    println!("rooms here and elsewhere: {at:?}");
    assert!(at.iter().all(|count| *count > 0), "{at:?}");
    let version = a.create_room(&ada, |request| {
        request.room_version = Some("999".try_into().unwrap());
    });
    let version = version.await;
    assert!(matches!(version, Err(RoomError::UnsupportedVersion(_))));
    drain([a, b]).await;
}

/// Red if the room's owner does not go on from what another has decided meanwhile: its memory of the
/// room would be old.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_went_and_came_back_goes_on() {
    let world = World::new();
    let [a, b] = world.processes().await;
    let ada = user("ada");
    let room = a.room_at(&b, &ada).await;
    let slot = a.logs.slot_of(room.as_str());
    let say = async |process: &Process, text: &str| {
        let event = NewEvent::now(message(&ada, text));
        process.send(&room, event).await.unwrap()
    };
    say(&b, "one").await;
    b.hand(slot, &a).await;
    say(&b, "two").await;
    say(&a, "three").await;
    a.hand(slot, &b).await;
    say(&b, "four").await;
    say(&a, "five").await;
    let timeline = a.timeline(&room).await;
    assert_eq!(
        timeline[timeline.len() - 5..],
        ["one", "two", "three", "four", "five"]
    );
    let levels = StateEventType::RoomPowerLevels.to_string();
    let state = b
        .rooms
        .reader()
        .state_event(&room, &levels, "", Position::END);
    assert!(state.await.unwrap().is_some());
    drain([a, b]).await;
}

/// Whether it is worth a repeat.
pub(crate) fn in_doubt(error: &RoomError) -> bool {
    matches!(
        error,
        RoomError::Append(AppendError::SlotLost { .. } | AppendError::NotServed { .. })
    )
}
