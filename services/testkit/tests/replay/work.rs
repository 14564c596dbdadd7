//! A history with something of everything.

use futures::future::join_all;
use hanse_event::{Draft, content_of};
use hanse_room::{
    MembershipAction, MembershipChange, NewEvent, NewReceipt, NewRoom, Redaction, Sent,
    TransactionKey,
};
use hanse_user::{NewSession, Proof, Registration};
use ruma::{
    OwnedRoomId, OwnedUserId, RoomId, UserId,
    api::client::room::create_room::v3::{Request, RoomPreset},
    events::receipt::ReceiptType,
    profile::ProfileFieldValue,
    room_alias_id, user_id,
};
use serde_json::{json, value::RawValue};

use crate::world::World;

/// Messages of each sender in each room, sent at once so that they share batches.
const MESSAGES: usize = 10;

fn people() -> [OwnedUserId; 3] {
    [
        user_id!("@ada:hanse.test").to_owned(),
        user_id!("@ben:hanse.test").to_owned(),
        user_id!("@cyd:hanse.test").to_owned(),
    ]
}

/// Accounts, sessions, rooms, members, messages.
pub(crate) async fn first_half(world: &World) -> Vec<OwnedRoomId> {
    for user in people() {
        account(world, &user).await;
    }
    let [ada, ben, cyd] = people();
    let mut rooms = Vec::new();
    for creator in [&ada, &ben] {
        let room = create(world, creator).await;
        member(world, &room, creator, &cyd, MembershipAction::Invite).await;
        for user in [&ada, &ben, &cyd]
            .into_iter()
            .filter(|user| *user != creator)
        {
            member(world, &room, user, user, MembershipAction::Join).await;
        }
        rooms.push(room);
    }
    talk(world, &rooms, "first").await;
    rooms
}

/// More messages, repeated transactions, redactions, receipts, names, departures.
pub(crate) async fn second_half(world: &World, rooms: &[OwnedRoomId]) {
    let [ada, ben, cyd] = people();
    let sent = talk(world, rooms, "second").await;
    let again = talk(world, rooms, "second").await;
    let ids = |sent: &[Sent]| -> Vec<_> { sent.iter().map(|sent| sent.event_id.clone()).collect() };
    assert_eq!(
        ids(&sent),
        ids(&again),
        "a repeated transaction gives the same event"
    );
    let room = &rooms[0];
    for event in sent.iter().take(3) {
        receipt(world, room, &ben, event).await;
    }
    redact(world, room, &ada, &sent[0]).await;
    world.rooms().publish(room, true).await.unwrap();
    world.rooms().publish(room, false).await.unwrap();
    let alias = room_alias_id!("#replay:hanse.test");
    let alias = world.users().create_alias(alias, room, &ada).await.unwrap();
    world.users().remove_alias(&alias).await.unwrap();
    rename(world, room, &ada).await;
    let left = member(world, room, &cyd, &cyd, MembershipAction::Leave).await;
    member(world, &rooms[1], &ben, &cyd, MembershipAction::Ban).await;
    world
        .users()
        .forget_room(&cyd, room, left.position)
        .await
        .unwrap();
    world.users().logout_all(&cyd).await.unwrap();
    world.users().deactivate(&cyd, false).await.unwrap();
}

async fn account(world: &World, user: &UserId) {
    let users = world.users();
    let registration = Registration {
        localpart: Some(user.localpart().to_owned()),
        password: Some("correct horse".to_owned()),
        ..Registration::default()
    };
    users.register(registration).await.unwrap();
    for refresh in [true, false] {
        let new = NewSession {
            proof: Proof::Vouched(user.to_owned()),
            device_id: None,
            initial_display_name: Some("a device".to_owned()),
            refresh,
        };
        users.start_session(new).await.unwrap();
    }
    let name = ProfileFieldValue::DisplayName(user.localpart().to_uppercase());
    users.set_profile_field(user, &name).await.unwrap();
    for theme in ["dark", "light"] {
        let content = RawValue::from_string(json!({ "theme": theme }).to_string()).unwrap();
        let put = users.put_account_data(user, None, "org.hanse.theme", &content);
        put.await.unwrap();
    }
}

async fn create(world: &World, creator: &UserId) -> OwnedRoomId {
    let mut request = Request::new();
    request.preset = Some(RoomPreset::PublicChat);
    request.name = Some("replayed".to_owned());
    let room = NewRoom {
        creator: creator.to_owned(),
        profile: ruma::CanonicalJsonObject::new(),
        alias: None,
        request,
    };
    world.rooms().create(room).await.unwrap()
}

async fn member(
    world: &World,
    room: &RoomId,
    sender: &UserId,
    target: &UserId,
    action: MembershipAction,
) -> Sent {
    let change = MembershipChange {
        sender: sender.to_owned(),
        target: target.to_owned(),
        action,
        content: ruma::CanonicalJsonObject::new(),
        transaction: None,
    };
    world.rooms().change_membership(room, change).await.unwrap()
}

/// Everybody writes into every room, all at once.
async fn talk(world: &World, rooms: &[OwnedRoomId], round: &str) -> Vec<Sent> {
    let mut sends = Vec::new();
    for room in rooms {
        for user in people() {
            for number in 0..MESSAGES {
                sends.push(send(world, room, user.clone(), format!("{round} {number}")));
            }
        }
    }
    join_all(sends).await
}

async fn send(world: &World, room: &RoomId, sender: OwnedUserId, text: String) -> Sent {
    let content = content_of(&json!({ "msgtype": "m.text", "body": text })).unwrap();
    let transaction = TransactionKey {
        user_id: sender.to_string(),
        device_id: "DEVICE".to_owned(),
        scope: "send/m.room.message".to_owned(),
        txn_id: text,
    };
    let event = NewEvent {
        draft: Draft::message(sender, "m.room.message", content),
        transaction: Some(transaction),
        timestamp: None,
    };
    world.rooms().send(room, event).await.unwrap()
}

async fn rename(world: &World, room: &RoomId, sender: &UserId) {
    let content = content_of(&json!({ "name": "renamed" })).unwrap();
    let draft = Draft::state(sender.to_owned(), "m.room.name", "", content);
    let event = NewEvent::now(draft);
    world.rooms().send(room, event).await.unwrap();
}

async fn redact(world: &World, room: &RoomId, sender: &UserId, event: &Sent) {
    let redaction = Redaction {
        sender: sender.to_owned(),
        event_id: event.event_id.clone(),
        reason: Some("on second thoughts".to_owned()),
        transaction: None,
    };
    world.rooms().redact(room, redaction).await.unwrap();
}

async fn receipt(world: &World, room: &RoomId, user: &UserId, event: &Sent) {
    let receipt = NewReceipt {
        user_id: user.to_owned(),
        receipt_type: ReceiptType::Read,
        thread_id: String::new(),
        event_id: event.event_id.clone(),
    };
    world.rooms().receipt(room, receipt).await.unwrap();
}
