//! Redactions.

use hanse_room::{Redaction, RoomError, Sent};
use ruma::{EventId, RoomId, RoomVersionId, UserId, api::client::room::create_room::v3::Request};
use serde_json::{Value, json};

use crate::world::{World, assert_chain, user};

async fn redact(
    world: &World,
    room: &RoomId,
    sender: &UserId,
    event_id: &EventId,
) -> Result<Sent, RoomError> {
    let redaction = Redaction {
        sender: sender.to_owned(),
        event_id: event_id.to_owned(),
        reason: Some("why".to_owned()),
        transaction: None,
    };
    world.rooms.redact(room, redaction).await
}

/// Sabotage: leave the target's row as it is, or write it without `redacted_because`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prunes_a_message() {
    let world = World::new().await;
    let (ada, ben) = (user("ada"), user("ben"));
    for version in [RoomVersionId::V10, RoomVersionId::V11, RoomVersionId::V12] {
        let mut request = Request::new();
        request.room_version = Some(version);
        let room = world.create(&ada, request).await;
        let said = world.say(&room, &ada, "secret").await;
        let refused = redact(&world, &room, &ben, &said.event_id).await;
        assert!(matches!(refused, Err(RoomError::Forbidden { .. })));
        let redaction = redact(&world, &room, &ada, &said.event_id).await.unwrap();
        let pruned = world.reader().event(&room, &said.event_id).await.unwrap();
        let pruned = pruned.unwrap();
        assert_eq!(pruned.pdu.content().get(), "{}");
        assert_eq!(pruned.position, said.position);
        let unsigned: Value = serde_json::from_str(pruned.pdu.unsigned().unwrap().get()).unwrap();
        let because = &unsigned["redacted_because"];
        assert_eq!(because["sender"], ada.as_str());
        assert_eq!(because["content"]["reason"], "why");
        let timeline = world.timeline(&room).await;
        assert_chain(&timeline);
        assert_eq!(timeline.last().unwrap().pdu.event_id(), redaction.event_id);
        let unknown = redact(&world, &room, &ada, &redaction.event_id).await;
        assert!(unknown.is_ok(), "a redaction may be redacted");
        let elsewhere = world.create(&ada, Request::new()).await;
        let refused = redact(&world, &elsewhere, &ada, &said.event_id).await;
        assert!(matches!(refused, Err(RoomError::UnknownEvent { .. })));
    }
    world.close().await;
}

/// Sabotage: leave the redacted event in the room's memory: `ben` keeps his power until a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prunes_state_in_memory_as_in_the_archives() {
    let world = World::new().await;
    let (ada, ben) = (user("ada"), user("ben"));
    let mut request = Request::new();
    request.room_version = Some(RoomVersionId::V10);
    let room = world.create(&ada, request).await;
    // From `public` to no rule at all: what is left of pruned join rules is the rule itself, so a
    // name tells: its content goes.
    let rule = json!({ "join_rule": "public", "extra": true });
    let key = ("m.room.join_rules", "");
    let rule = world.set(&room, &ada, key, rule).await;
    redact(&world, &room, &ada, &rule.event_id).await.unwrap();
    let held = world.content(&room, key.0, key.1).await;
    assert_eq!(held, json!({ "join_rule": "public" }));
    world.join(&room, &ben).await;

    // `kick` is kept and `invite` is not, before version 11: its default comes back.
    let levels = json!({ "users": { ada.as_str(): 100 }, "invite": 50 });
    let key = ("m.room.power_levels", "");
    let levels = world.set(&room, &ada, key, levels).await;
    let invite = hanse_room::MembershipAction::Invite;
    let cyd = user("cyd");
    world.member(&room, &ben, &cyd, invite).await.unwrap_err();
    redact(&world, &room, &ada, &levels.event_id).await.unwrap();
    world.member(&room, &ben, &cyd, invite).await.unwrap();
    let world = world.reopen().await;
    let dan = user("dan");
    world.member(&room, &ben, &dan, invite).await.unwrap();
    assert_chain(&world.timeline(&room).await);
    world.close().await;
}
