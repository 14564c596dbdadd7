//! Who may see what, under each history visibility.

use hanse_log::Position;
use hanse_room::MembershipAction as Action;
use ruma::{UserId, events::room::member::MembershipState};
use serde_json::json;

use crate::world::{World, user};

/// What a reader sees of: before the invitation, invited, joined, after leaving.
type Seen = [bool; 4];

/// Sabotage: take the visibility or the membership after the event, or let `shared` show what came
/// after the reader left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_visibility_for_each_reader() {
    const NO: Seen = [false; 4];
    const ALL: Seen = [true; 4];
    // The visibility; who came and left; who was only invited; a stranger.
    let table: [(&str, Seen, Seen, Seen); 4] = [
        ("world_readable", ALL, ALL, ALL),
        ("shared", [true, true, true, false], NO, NO),
        (
            "invited",
            [false, true, true, false],
            [false, true, true, true],
            NO,
        ),
        ("joined", [false, false, true, false], NO, NO),
    ];
    let world = World::new().await;
    let (ada, ben, cyd, dan) = (user("ada"), user("ben"), user("cyd"), user("dan"));
    for (visibility, came, invited, stranger) in table {
        let room = world.public_room(&ada).await;
        let key = ("m.room.history_visibility", "");
        let content = json!({ "history_visibility": visibility });
        world.set(&room, &ada, key, content).await;
        let mut said = Vec::new();
        said.push(world.say(&room, &ada, "before").await);
        for user in [&ben, &cyd] {
            world
                .member(&room, &ada, user, Action::Invite)
                .await
                .unwrap();
        }
        said.push(world.say(&room, &ada, "invited").await);
        world.join(&room, &ben).await;
        said.push(world.say(&room, &ada, "joined").await);
        let left = world
            .member(&room, &ben, &ben, Action::Leave)
            .await
            .unwrap();
        said.push(world.say(&room, &ada, "left").await);
        let sees = async |reader: &UserId| {
            let lens = world.reader().lens(&room, reader, Position::END).await;
            let lens = lens.unwrap();
            let mut seen = Vec::new();
            for sent in &said {
                let event = world.reader().event(&room, &sent.event_id).await.unwrap();
                seen.push(lens.sees(&event.unwrap()));
            }
            (lens, seen)
        };
        assert_eq!(sees(&ada).await.1, ALL, "{visibility}");
        let (lens, seen_by) = sees(&ben).await;
        assert_eq!(seen_by, came, "{visibility}, who came and left");
        assert_eq!(lens.membership(), MembershipState::Leave);
        assert_eq!(lens.membership_at(said[2].position), MembershipState::Join);
        assert_eq!(
            lens.membership_before(said[0].position),
            MembershipState::Leave
        );
        let open = visibility == "world_readable";
        let horizon = if open { Position::END } else { left.position };
        assert_eq!(lens.horizon(), horizon);
        assert_eq!(sees(&cyd).await.1, invited, "{visibility}, invited");
        let (lens, seen_by) = sees(&dan).await;
        assert_eq!(seen_by, stranger, "{visibility}, a stranger");
        assert!(!lens.was_ever_there());
    }
    world.close().await;
}
