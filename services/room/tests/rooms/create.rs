//! Creating rooms.

use hanse_room::Rooms;
use ruma::{
    RoomVersionId,
    api::client::room::create_room::v3::{Request, RoomPreset},
    serde::Raw,
};
use serde_json::{Value, json, value::to_raw_value};

use crate::world::{World, assert_chain, user};

/// Sabotage: list the creator in version 12's levels, or take `room_version::DEFAULT` always.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_supported_version() {
    let world = World::new().await;
    let ada = user("ada");
    for version in 2..=12 {
        let mut request = Request::new();
        request.room_version = Some(RoomVersionId::try_from(version.to_string()).unwrap());
        let room = world.create(&ada, request).await;
        world.say(&room, &ada, "hello").await;
        let timeline = world.timeline(&room).await;
        assert_chain(&timeline);
        let types: Vec<_> = timeline.iter().map(|event| event.pdu.type_name()).collect();
        assert_eq!(
            types,
            [
                "m.room.create",
                "m.room.member",
                "m.room.power_levels",
                "m.room.join_rules",
                "m.room.history_visibility",
                "m.room.guest_access",
                "m.room.message"
            ]
        );
        let head = world.reader().head(&room).await.unwrap().unwrap();
        assert_eq!(head.head.room_version, version.to_string());
        assert_eq!(
            (head.head.joined_members, head.head.invited_members),
            (1, 0)
        );
        let levels = world.content(&room, "m.room.power_levels", "").await;
        let listed = levels["users"].get(ada.as_str()).is_some();
        assert_eq!(listed, version < 12, "version {version}");
    }
    let room = world.create(&ada, Request::new()).await;
    let head = world.reader().head(&room).await.unwrap().unwrap();
    assert_eq!(head.head.room_version, Rooms::default_version().as_str());
    world.close().await;
}

/// Sabotage: leave `keep_ends` out of `advance` (the first message finds no hash of an event that
/// is not in the archives yet), or look for ends in the memory alone (the one after the restart).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn version_2_names_events_with_their_hashes() {
    let world = World::new().await;
    let ada = user("ada");
    let mut request = Request::new();
    request.room_version = Some(RoomVersionId::V2);
    let room = world.create(&ada, request).await;
    world.say(&room, &ada, "before").await;
    let world = world.reopen().await;
    world.say(&room, &ada, "after").await;
    let timeline = world.timeline(&room).await;
    assert_chain(&timeline);
    let rules = RoomVersionId::V2.rules().unwrap();
    for (before, event) in timeline.iter().zip(timeline.iter().skip(1)) {
        let json: Value = serde_json::from_str(event.pdu.json()).unwrap();
        let hash = before.pdu.reference_hash(&rules).unwrap();
        let expected = json!([[before.pdu.event_id(), { "sha256": hash }]]);
        assert_eq!(json["prev_events"], expected);
    }
    world.close().await;
}

/// Sabotage: give every preset the same join rule, or forget the invited of a trusted chat.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presets() {
    let world = World::new().await;
    let (ada, ben) = (user("ada"), user("ben"));
    for (preset, join_rule, guests, invited_level) in [
        (RoomPreset::PublicChat, "public", "forbidden", Value::Null),
        (RoomPreset::PrivateChat, "invite", "can_join", Value::Null),
        (
            RoomPreset::TrustedPrivateChat,
            "invite",
            "can_join",
            json!(100),
        ),
    ] {
        let mut request = Request::new();
        request.preset = Some(preset);
        request.room_version = Some(RoomVersionId::V11);
        request.invite = vec![ben.clone()];
        let room = world.create(&ada, request).await;
        let rules = world.content(&room, "m.room.join_rules", "").await;
        assert_eq!(rules["join_rule"], join_rule);
        let access = world.content(&room, "m.room.guest_access", "").await;
        assert_eq!(access["guest_access"], guests);
        let levels = world.content(&room, "m.room.power_levels", "").await;
        assert_eq!(levels["users"][ben.as_str()], invited_level);
    }
    world.close().await;
}

/// Sabotage: apply the preset after `initial_state`, or merge the override below the defaults.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn initial_state_and_overrides() {
    let world = World::new().await;
    let ada = user("ada");
    let mut request = Request::new();
    let visibility = json!({
        "type": "m.room.history_visibility", "content": { "history_visibility": "joined" },
    });
    let own = json!({ "type": "org.hanse.a", "state_key": "k", "content": { "v": 1 } });
    request.initial_state = [visibility, own]
        .iter()
        .map(|event| Raw::from_json(to_raw_value(event).unwrap()))
        .collect();
    let levels = json!({ "events_default": 7 });
    request.power_level_content_override = Some(Raw::from_json(to_raw_value(&levels).unwrap()));
    request.name = Some("a name".to_owned());
    request.topic = Some("a topic".to_owned());
    let room = world.create(&ada, request).await;
    let shown = world.content(&room, "m.room.history_visibility", "").await;
    assert_eq!(shown, json!({ "history_visibility": "joined" }));
    let own = world.content(&room, "org.hanse.a", "k").await;
    assert_eq!(own, json!({ "v": 1 }));
    let levels = world.content(&room, "m.room.power_levels", "").await;
    assert_eq!(
        (&levels["events_default"], &levels["ban"]),
        (&json!(7), &json!(50))
    );
    assert_eq!(
        world.content(&room, "m.room.name", "").await["name"],
        "a name"
    );
    assert_eq!(
        world.content(&room, "m.room.topic", "").await["topic"],
        "a topic"
    );
    assert_chain(&world.timeline(&room).await);
    world.close().await;
}

/// Sabotage: submit the first events one by one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_a_room_or_nothing() {
    let world = World::new().await;
    let ada = user("ada");
    world.probe.refuse_appends(1);
    world.try_create(&ada, Request::new()).await.unwrap_err();
    assert!(world.reader().user_rooms(&ada).await.unwrap().is_empty());
    let room = world.create(&ada, Request::new()).await;
    let seqs: Vec<_> = world.timeline(&room).await;
    let first = seqs[0].position.seq();
    assert!(seqs.iter().all(|event| event.position.seq() == first));
    world.close().await;
}
