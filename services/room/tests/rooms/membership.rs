//! What an action does to a membership.

use hanse_room::{MembershipAction as Action, RoomError};
use ruma::{
    OwnedRoomId, RoomVersionId, UserId,
    api::client::room::create_room::v3::{Request, RoomPreset},
};
use serde_json::json;

use crate::world::{World, user};

/// What becomes of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Becomes {
    /// A new event, with this membership.
    New(&'static str),
    /// The present event.
    Same,
    Forbidden,
}

const PRESENT: [&str; 6] = ["none", "invite", "join", "leave", "ban", "knock"];

async fn knock_room(world: &World, creator: &UserId) -> OwnedRoomId {
    let mut request = Request::new();
    request.room_version = Some(RoomVersionId::V10);
    let room = world.create(creator, request).await;
    let rule = json!({ "join_rule": "knock" });
    world
        .set(&room, creator, ("m.room.join_rules", ""), rule)
        .await;
    room
}

/// Brings a stranger's membership about.
async fn bring_about(world: &World, room: &OwnedRoomId, ada: &UserId, ben: &UserId, present: &str) {
    let steps: &[(&UserId, Action)] = match present {
        "invite" => &[(ada, Action::Invite)],
        "join" => &[(ada, Action::Invite), (ben, Action::Join)],
        "leave" => &[(ada, Action::Invite), (ben, Action::Leave)],
        "ban" => &[(ada, Action::Ban)],
        "knock" => &[(ben, Action::Knock)],
        _ => &[],
    };
    for (sender, action) in steps {
        world.member(room, sender, ben, *action).await.unwrap();
    }
}

/// What is so already, by the same sender and in the same words, makes no event.
///
/// Sabotage: change any line of `already`, or leave a rule to chance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_of_memberships() {
    use Becomes::{Forbidden as No, New, Same};
    let table: [(Action, [Becomes; 6]); 8] = [
        (Action::Join, [No, New("join"), Same, No, No, No]),
        (Action::UpdateProfile, [No, No, Same, No, No, No]),
        (
            Action::Invite,
            [New("invite"), Same, No, New("invite"), No, New("invite")],
        ),
        (
            Action::Leave,
            [No, New("leave"), New("leave"), Same, No, New("leave")],
        ),
        (
            Action::Kick,
            [No, New("leave"), New("leave"), No, No, New("leave")],
        ),
        (
            Action::Ban,
            [
                New("ban"),
                New("ban"),
                New("ban"),
                New("ban"),
                Same,
                New("ban"),
            ],
        ),
        (Action::Unban, [No, No, No, No, New("leave"), No]),
        (
            Action::Knock,
            [New("knock"), No, No, New("knock"), No, Same],
        ),
    ];
    let world = World::new().await;
    let (ada, ben) = (user("ada"), user("ben"));
    for (action, row) in table {
        for (present, expected) in PRESENT.into_iter().zip(row) {
            let room = knock_room(&world, &ada).await;
            bring_about(&world, &room, &ada, &ben, present).await;
            let of_others = [Action::Invite, Action::Kick, Action::Ban, Action::Unban];
            let sender = if of_others.contains(&action) {
                &ada
            } else {
                &ben
            };
            let before = world.timeline(&room).await.len();
            let done = world.member(&room, sender, &ben, action).await;
            let grew = world.timeline(&room).await.len() - before;
            let now = world.content(&room, "m.room.member", ben.as_str()).await;
            let now = now["membership"].as_str().unwrap_or("none").to_owned();
            let became = match done {
                Ok(_) if grew == 0 => Same,
                Ok(_) => New(table_name(&now)),
                Err(RoomError::Forbidden { .. }) => No,
                Err(error) => unreachable!("{error}"),
            };
            assert_eq!(became, expected, "{action:?} of {present}");
            if !matches!(expected, New(_)) {
                assert_eq!(now, present, "{action:?} of {present} left it");
            }
            counts_hold(&world, &room).await;
        }
    }
    world.close().await;
}

fn table_name(membership: &str) -> &'static str {
    PRESENT.into_iter().find(|m| *m == membership).unwrap()
}

/// The head's counts against the members. Sabotage: count by the new membership alone.
async fn counts_hold(world: &World, room: &OwnedRoomId) {
    let head = world.reader().head(room).await.unwrap().unwrap().head;
    let end = hanse_log::Position::END;
    let members = world.reader().members(room, end).await.unwrap();
    let count = |wanted: &str| {
        let with = members
            .iter()
            .filter(|member| member.membership.as_deref() == Some(wanted));
        with.count() as i64
    };
    assert_eq!(head.joined_members, count("join"));
    assert_eq!(head.invited_members, count("invite"));
}

/// Sabotage: let a repeated join of a public room be another event, or a banned user in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anybody_joins_a_public_room() {
    let world = World::new().await;
    let (ada, ben) = (user("ada"), user("ben"));
    let room = world.public_room(&ada).await;
    let first = world.join(&room, &ben).await;
    assert_eq!(world.join(&room, &ben).await.event_id, first.event_id);
    world.member(&room, &ada, &ben, Action::Kick).await.unwrap();
    assert_ne!(world.join(&room, &ben).await.event_id, first.event_id);
    world.member(&room, &ada, &ben, Action::Ban).await.unwrap();
    let refused = world.member(&room, &ben, &ben, Action::Join).await;
    assert!(matches!(refused, Err(RoomError::Forbidden { .. })));
    let weak = world.member(&room, &user("cyd"), &ada, Action::Kick).await;
    assert!(matches!(weak, Err(RoomError::Forbidden { .. })));
    counts_hold(&world, &room).await;
    world.close().await;
}

/// Sabotage: skip the look into the allowed rooms, or name nobody who authorises.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restricted_room_lets_members_of_another_in() {
    let world = World::new().await;
    let (ada, ben, cyd) = (user("ada"), user("ben"), user("cyd"));
    let club = world.public_room(&ada).await;
    for version in [RoomVersionId::V8, RoomVersionId::V10, RoomVersionId::V12] {
        let mut request = Request::new();
        request.preset = Some(RoomPreset::PrivateChat);
        request.room_version = Some(version);
        let room = world.create(&ada, request).await;
        let rule = json!({
            "join_rule": "restricted",
            "allow": [{ "type": "m.room_membership", "room_id": club }],
        });
        world
            .set(&room, &ada, ("m.room.join_rules", ""), rule)
            .await;
        let refused = world.member(&room, &ben, &ben, Action::Join).await;
        assert!(matches!(refused, Err(RoomError::Forbidden { .. })));
        world.join(&club, &ben).await;
        world.join(&room, &ben).await;
        let joined = world.content(&room, "m.room.member", ben.as_str()).await;
        assert_eq!(joined["join_authorised_via_users_server"], ada.as_str());
        world
            .member(&room, &ada, &cyd, Action::Invite)
            .await
            .unwrap();
        world.join(&room, &cyd).await;
        let joined = world.content(&room, "m.room.member", cyd.as_str()).await;
        assert!(joined.get("join_authorised_via_users_server").is_none());
        world
            .member(&club, &ben, &ben, Action::Leave)
            .await
            .unwrap();
    }
    world.close().await;
}
