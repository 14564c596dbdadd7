//! Invitations, knocks and their ends in rooms that this server is not in.

use hanse_event::{Pdu, Received};
use hanse_log::Position;
use hanse_room::{Installed, RoomError, Told, UserRoom};
use ruma::{CanonicalJsonObject, RoomVersionId, UserId, events::room::member::MembershipState};
use serde_json::{Value, json, value::RawValue};

use crate::{
    remote_room::{RemoteRoom, remote},
    world::{World, user},
};

/// What the inviting server says of its room.
fn stripped(there: &RemoteRoom) -> Vec<Box<RawValue>> {
    let shown = there
        .state
        .values()
        .filter(|pdu| pdu.type_name() != "m.room.member");
    shown
        .map(|pdu| RawValue::from_string(pdu.json().to_owned()).unwrap())
        .collect()
}

async fn tell(world: &World, there: &RemoteRoom, pdu: &Pdu) -> Told {
    let (event, shown): (Received, _) = (there.received(pdu), stripped(there));
    let told = world.rooms.receive_membership(event, &shown).await;
    told.unwrap()
}

async fn held(world: &World, there: &RemoteRoom, user: &UserId) -> Option<UserRoom> {
    world
        .reader()
        .user_room(user, there.room_id())
        .await
        .unwrap()
}

/// Sabotage: write the invitation into the room's state; hand the stripped state on as it came.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_shows_what_the_other_server_says_and_no_room() {
    let world = World::new().await;
    let (ada, zoe) = (user("ada"), remote("zoe"));
    let mut there = RemoteRoom::new(RoomVersionId::V11);
    there.set(&zoe, ("m.room.name", ""), &json!({ "name": "there" }));
    let invite = there.member(&zoe, &ada, "invite");
    assert!(matches!(tell(&world, &there, &invite).await, Told::Now(_)));
    assert_eq!(tell(&world, &there, &invite).await, Told::Known);
    let invited = held(&world, &there, &ada).await.unwrap();
    assert_eq!(invited.membership, MembershipState::Invite);
    assert_eq!(invited.previous, None);
    let event = world
        .reader()
        .membership_event(&invited)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(event.pdu, invite);
    let shown: Vec<Value> = serde_json::from_str(&invited.stripped_state.unwrap()).unwrap();
    let name = shown
        .iter()
        .find(|event| event["type"] == "m.room.name")
        .unwrap();
    let expected = json!({
        "type": "m.room.name", "state_key": "", "sender": zoe, "content": { "name": "there" },
    });
    assert_eq!(*name, expected);
    let own = shown.last().unwrap();
    assert_eq!(
        (&own["state_key"], &own["content"]["membership"]),
        (&json!(ada), &json!("invite"))
    );

    let (reader, room) = (world.reader(), there.room_id());
    assert!(reader.head(room).await.unwrap().is_none());
    assert!(
        reader
            .members(room, Position::END)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        reader
            .event(room, invite.event_id())
            .await
            .unwrap()
            .is_none()
    );
    let sent = world.try_say(room, &ada, "let me in").await;
    assert!(matches!(sent, Err(RoomError::UnknownRoom { .. })));
    world.close().await;
}

/// `GHSA-f3wc-3vxv-xmvr` (too much of it) and `GHSA-f3r3-h2mq-hx2h` (not even events).
///
/// Sabotage: keep what cannot be read; keep all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ghsa_f3wc_3vxv_xmvr_stripped_state_is_rebuilt_and_bounded() {
    let world = World::new().await;
    let (ada, zoe) = (user("ada"), remote("zoe"));
    let mut there = RemoteRoom::new(RoomVersionId::V11);
    let invite = there.member(&zoe, &ada, "invite");
    let bad = [
        json!(7),
        json!({ "type": "m.room.name" }),
        json!({ "type": "m.room.name", "state_key": "", "sender": "nobody", "content": {} }),
        json!({ "type": "m.room.name", "state_key": "", "sender": zoe, "content": [] }),
        json!({ "type": "m.room.member", "state_key": ada, "sender": zoe, "content": { "membership": "join" } }),
    ];
    let many = (0..200).map(|number| {
        let content = json!({ "n": number, "x": "x".repeat(1_000) });
        json!({ "type": "t", "state_key": "", "sender": zoe, "content": content, "more": 1 })
    });
    let raw = |event: Value| RawValue::from_string(event.to_string()).unwrap();
    let state: Vec<Box<RawValue>> = bad.into_iter().chain(many).map(raw).collect();
    let told = world
        .rooms
        .receive_membership(there.received(&invite), &state)
        .await;
    assert!(matches!(told, Ok(Told::Now(_))));
    let text = held(&world, &there, &ada)
        .await
        .unwrap()
        .stripped_state
        .unwrap();
    assert!(text.len() < 40_000, "{} bytes", text.len());
    let shown: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(shown.len() > 10);
    let (own, others) = shown.split_last().unwrap();
    assert_eq!(own["content"]["membership"], "invite");
    for event in others {
        assert_eq!(
            (&event["type"], &event["more"]),
            (&json!("t"), &Value::Null)
        );
    }
    world.close().await;
}

/// Sabotage: let any server end an invitation; let an invitation that ended come back as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_ends_by_the_user_or_who_invited() {
    let world = World::new().await;
    let (ada, ben, zoe) = (user("ada"), user("ben"), remote("zoe"));
    let stranger: ruma::OwnedUserId = "@eve:b.test".try_into().unwrap();
    let mut there = RemoteRoom::new(RoomVersionId::V11);
    for invited in [&ada, &ben] {
        let invite = there.member(&zoe, invited, "invite");
        assert!(matches!(tell(&world, &there, &invite).await, Told::Now(_)));
    }
    let kicked = there.member(&stranger, &ada, "leave");
    assert_eq!(tell(&world, &there, &kicked).await, Told::Nothing);
    assert_eq!(
        held(&world, &there, &ada).await.unwrap().membership,
        MembershipState::Invite
    );
    let withdrawn = there.member(&zoe, &ada, "leave");
    assert!(matches!(
        tell(&world, &there, &withdrawn).await,
        Told::Now(_)
    ));
    let left = held(&world, &there, &ada).await.unwrap();
    assert_eq!(
        (left.membership, left.previous),
        (MembershipState::Leave, Some(MembershipState::Invite))
    );
    let again = there.member(&zoe, &ada, "leave");
    assert_eq!(tell(&world, &there, &again).await, Told::Nothing);

    let rejected = world
        .rooms
        .reject(there.room_id(), ben.clone(), CanonicalJsonObject::new());
    let rejected = rejected.await.unwrap();
    let left = held(&world, &there, &ben).await.unwrap();
    assert_eq!(
        (left.membership.clone(), &left.event_id),
        (MembershipState::Leave, &rejected.event_id)
    );
    let event = world
        .reader()
        .membership_event(&left)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (event.pdu.sender(), event.pdu.state_key()),
        (&*ben, Some(ben.as_str()))
    );
    // It is signed as any event of ours.
    there.received(&event.pdu);
    let again = world
        .rooms
        .reject(there.room_id(), ben, CanonicalJsonObject::new())
        .await;
    assert!(matches!(again, Err(RoomError::Forbidden { .. })));
    world.close().await;
}

/// Sabotage: let an invitation that comes late put a member out of the room; forget what an
/// invitation showed when the room's state brings it along.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_supersedes_an_invitation_and_no_invitation_a_join() {
    let world = World::new().await;
    let (ada, ben, zoe) = (user("ada"), user("ben"), remote("zoe"));
    let mut there = RemoteRoom::new(RoomVersionId::V11);
    let invites = [&ada, &ben].map(|user| there.member(&zoe, user, "invite"));
    for invite in &invites {
        assert!(matches!(tell(&world, &there, invite).await, Told::Now(_)));
    }
    let waits = held(&world, &there, &ben).await.unwrap();
    let join = there.joined(&ada);
    let installed = there.install(&world.rooms, &join).await.unwrap();
    assert!(matches!(installed, Installed::Now { .. }));
    let joined = held(&world, &there, &ada).await.unwrap();
    assert_eq!(joined.membership, MembershipState::Join);
    assert_eq!(joined.previous, Some(MembershipState::Invite));
    let still = held(&world, &there, &ben).await.unwrap();
    assert_eq!(
        (still.position, &still.stripped_state),
        (waits.position, &waits.stripped_state)
    );
    let event = world
        .reader()
        .membership_event(&still)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(event.pdu, invites[1]);

    there.keep(join);
    let late = there.member(&zoe, &ada, "invite");
    assert_eq!(tell(&world, &there, &late).await, Told::Nothing);
    assert_eq!(
        held(&world, &there, &ada).await.unwrap().membership,
        MembershipState::Join
    );
    world.join(there.room_id(), &ben).await;
    world.close().await;
}

/// Sabotage: take a membership of somebody else's user, or a join.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_membership_of_ours_is_refused() {
    let world = World::new().await;
    let (ada, zoe) = (user("ada"), remote("zoe"));
    let mut there = RemoteRoom::new(RoomVersionId::V11);
    let others = there.member(&zoe, &remote("yan"), "invite");
    let join = there.joined(&ada);
    let name = there.set(&zoe, ("m.room.name", ada.as_str()), &json!({}));
    for pdu in [others, join, name] {
        let told = world
            .rooms
            .receive_membership(there.received(&pdu), &[])
            .await;
        assert!(
            matches!(told, Err(RoomError::BadContent { .. })),
            "{told:?}"
        );
    }
    world.close().await;
}
