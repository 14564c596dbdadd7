//! Rooms that come and go.

use std::time::Duration;

use hanse_room::MembershipAction as Action;
use ruma::{OwnedUserId, RoomId};
use serde_json::{Value, json};

use crate::world::{Client, SOON, World, eventually, ids, limit};

async fn two(world: &World) -> (OwnedUserId, OwnedUserId) {
    (world.register("ada").await, world.register("ben").await)
}

fn has(content: &Value, section: &str, room: &RoomId) -> bool {
    content["rooms"][section].get(room.as_str()).is_some()
}

/// Sabotage: treat a room as known because another one shares its slot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_just_joined_comes_whole() {
    let world = World::new().await;
    let (ada, ben) = two(&world).await;
    let mut client = Client::default();
    client.sync(&world.worker, &ben, limit(4), SOON).await;
    // More rooms than slots: some share one with a room that the token names.
    for _ in 0..8 {
        let room = world.public_room(&ada).await;
        for number in 0..5 {
            world.set(&room, &ada, "k", number).await;
        }
        world.join(&room, &ben).await;
        let answer = client.sync(&world.worker, &ben, limit(4), SOON).await;
        assert!(has(&answer, "join", &room));
        assert_eq!(client.states[room.as_str()], world.state(&room).await);
        let shown = &client.timelines[room.as_str()];
        assert!(shown.len() == 4 && world.timeline(&room).await.ends_with(shown));
    }
    world.close().await;
}

/// Sabotage: read a left room up to now, forget to tell, or tell twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leave_is_told_once_and_up_to_there() {
    let world = World::new().await;
    let (ada, ben) = two(&world).await;
    for action in [Action::Leave, Action::Kick, Action::Ban]
        .into_iter()
        .cycle()
        .take(9)
    {
        let room = world.public_room(&ada).await;
        world.join(&room, &ben).await;
        let mut client = Client::default();
        // The worker hears of the join a moment after it was answered.
        let mut first = client.sync(&world.worker, &ben, limit(50), SOON).await;
        while !has(&first, "join", &room) {
            first = client.sync(&world.worker, &ben, limit(50), SOON).await;
        }
        let last = world.say(&room, &ada, "still here").await;
        let sender = if action == Action::Leave { &ben } else { &ada };
        let left = world.member(&room, sender, &ben, action).await;
        world.say(&room, &ada, "gone").await;
        let mut answer = client.sync(&world.worker, &ben, limit(50), SOON).await;
        while !has(&answer, "leave", &room) {
            answer = client.sync(&world.worker, &ben, limit(50), SOON).await;
        }
        let shown = ids(&answer, "leave", &room, "timeline");
        assert_eq!(
            shown,
            [last.event_id.to_string(), left.event_id.to_string()]
        );
        assert!(!has(&answer, "join", &room));
        for _ in 0..3 {
            let wait = Duration::from_millis(20);
            let answer = client.sync(&world.worker, &ben, limit(50), wait).await;
            assert!(!has(&answer, "leave", &room), "{action:?} is told again");
        }
    }
    world.close().await;
}

/// Sabotage: show the invited more than the invitation, or a rejection to nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_is_shown_and_its_rejection() {
    let world = World::new().await;
    let (ada, ben) = two(&world).await;
    let room = world.public_room(&ada).await;
    let mut client = Client::default();
    client.sync(&world.worker, &ben, limit(50), SOON).await;
    world.member(&room, &ada, &ben, Action::Invite).await;
    let answer = client.sync(&world.worker, &ben, limit(50), SOON).await;
    assert!(has(&answer, "invite", &room) && !has(&answer, "join", &room));
    let shown = &answer["rooms"]["invite"][room.as_str()]["invite_state"]["events"];
    let shown = shown.as_array().unwrap();
    let invitation = |event: &&Value| event["state_key"] == ben.as_str();
    let invitation = shown.iter().find(invitation).unwrap();
    assert_eq!(invitation["content"]["membership"], "invite");
    world.say(&room, &ada, "not for you").await;
    let answer = client
        .sync(&world.worker, &ben, limit(50), Duration::ZERO)
        .await;
    assert!(!has(&answer, "invite", &room), "told once");
    let left = world.member(&room, &ben, &ben, Action::Leave).await;
    let answer = client.sync(&world.worker, &ben, limit(50), SOON).await;
    let shown = ids(&answer, "leave", &room, "timeline");
    assert_eq!(shown, [left.event_id.to_string()], "the rejection alone");
    world.close().await;
}

/// Sabotage: ignore `include_leave`, or that the user forgot the room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgotten_room_is_gone() {
    let world = World::new().await;
    let (ada, ben) = two(&world).await;
    let room = world.public_room(&ada).await;
    world.join(&room, &ben).await;
    let left = world.member(&room, &ben, &ben, Action::Leave).await;
    let shown = async |include: bool| {
        let filter = json!({ "room": { "include_leave": include } });
        let mut client = Client::default();
        let answer = client.sync(&world.worker, &ben, filter, SOON).await;
        has(&answer, "leave", &room)
    };
    // The worker hears of what was just applied a moment later.
    eventually("the leave is shown", async || shown(true).await).await;
    assert!(!shown(false).await);
    world
        .users
        .forget_room(&ben, &room, left.position)
        .await
        .unwrap();
    assert!(!shown(true).await);
    world.join(&room, &ben).await;
    world.member(&room, &ada, &ben, Action::Kick).await;
    eventually("whoever comes back remembers", async || shown(true).await).await;
    world.close().await;
}
