//! Profiles, account data, filters, forgotten rooms, the directory.

use futures::future::join_all;
use hanse_log::Position;
use hanse_proto::{
    log::{Entry, entry::Kind},
    user::{MembershipNotice, UserEntry, user_entry},
};
use hanse_user::{CreateFilterError, ProfileError, PutAccountDataError};
use ruma::{
    UserId,
    api::client::filter::FilterDefinition,
    events::room::member::MembershipState,
    owned_mxc_uri,
    profile::{ProfileFieldName, ProfileFieldValue},
    push::{RuleKind, Ruleset},
    room_id, user_id,
};
use serde_json::{json, value::to_raw_value};

use crate::server::Server;

type JsonObject = serde_json::Map<String, serde_json::Value>;

fn name(name: &str) -> ProfileFieldValue {
    ProfileFieldValue::DisplayName(name.to_owned())
}

#[tokio::test]
async fn profile_fields_are_set_read_and_removed() {
    let mut server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    let users = server.users();
    assert!(
        users
            .profile(user_id!("@nobody:hanse.test"))
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(
        users.profile(&alice).await.unwrap().unwrap().iter().count(),
        0
    );
    let change = users
        .set_profile_field(&alice, &name("Alice"))
        .await
        .unwrap();
    assert_eq!(
        (change.previous, change.current),
        (None, Some(json!("Alice")))
    );
    let same = users
        .set_profile_field(&alice, &name("Alice"))
        .await
        .unwrap();
    assert_eq!(same.position, None, "nothing is written for nothing");
    let avatar = ProfileFieldValue::AvatarUrl(owned_mxc_uri!("mxc://hanse.test/a"));
    users.set_profile_field(&alice, &avatar).await.unwrap();
    let custom = ProfileFieldValue::new("org.example.x", json!({ "a": [1] })).unwrap();
    users.set_profile_field(&alice, &custom).await.unwrap();
    server.crash_and_restart().await;

    let users = server.users();
    let profile = users.profile(&alice).await.unwrap().unwrap();
    let whole = json!({
        "avatar_url": "mxc://hanse.test/a", "displayname": "Alice", "org.example.x": { "a": [1] },
    });
    assert_eq!(serde_json::to_value(&profile).unwrap(), whole);
    let change = users.set_profile_field(&alice, &name("")).await.unwrap();
    assert_eq!(
        (change.previous, change.current),
        (Some(json!("Alice")), None)
    );
    let field = ProfileFieldName::from("org.example.x");
    users.remove_profile_field(&alice, &field).await.unwrap();
    assert_eq!(users.profile_field(&alice, &field).await.unwrap(), None);
    assert!(
        users
            .remove_profile_field(&alice, &field)
            .await
            .unwrap()
            .position
            .is_none()
    );
    users.deactivate(&alice, true).await.unwrap();
    assert_eq!(
        users.profile(&alice).await.unwrap().unwrap().iter().count(),
        0
    );
    assert!(users.set_profile_field(&alice, &name("x")).await.is_err());
}

#[tokio::test]
async fn profiles_have_bounds() {
    let server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    let users = server.users();
    let long = users
        .set_profile_field(&alice, &name(&"x".repeat(1_025)))
        .await;
    assert!(matches!(
        long,
        Err(ProfileError::Value {
            bytes: 1_025,
            bytes_max: 1_024
        })
    ));
    let field = |key: &str| ProfileFieldValue::new(key, json!("x".repeat(30_000))).unwrap();
    for key in ["a", "b"] {
        users.set_profile_field(&alice, &field(key)).await.unwrap();
    }
    let full = users.set_profile_field(&alice, &field("c")).await;
    assert!(
        matches!(full, Err(ProfileError::Profile { .. })),
        "{full:?}"
    );
    let key = users
        .set_profile_field(&alice, &field(&"k".repeat(256)))
        .await;
    assert!(matches!(key, Err(ProfileError::Key)));
}

#[tokio::test]
async fn account_data_is_kept_by_type_and_read_by_position() {
    let mut server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    let room = room_id!("!r:hanse.test");
    let users = server.users();
    let content = |n: i32| to_raw_value(&json!({ "n": n })).unwrap();
    let first = users
        .put_account_data(&alice, None, "m.direct", &content(1))
        .await
        .unwrap();
    let tags = users
        .put_account_data(&alice, Some(room), "m.tag", &content(2))
        .await
        .unwrap();
    let again = users
        .put_account_data(&alice, None, "m.direct", &content(3))
        .await
        .unwrap();
    assert!(first < tags && tags < again);
    server.crash_and_restart().await;

    let users = server.users();
    let datum = users
        .account_data(&alice, None, "m.direct")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((datum.content.get(), datum.position), (r#"{"n":3}"#, again));
    let of_room = users
        .account_data(&alice, Some(room), "m.tag")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(of_room.room_id.as_deref(), Some(room));
    assert!(
        users
            .account_data(&alice, None, "m.tag")
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(users.all_account_data(&alice).await.unwrap().len(), 2);

    let changed = async |after, up_to| {
        let changed = users
            .account_data_changed(&alice, after, up_to)
            .await
            .unwrap();
        changed
            .into_iter()
            .map(|datum| datum.data_type)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        changed(Position::START, Position::END).await,
        ["m.tag", "m.direct"]
    );
    assert_eq!(changed(tags, Position::END).await, ["m.direct"]);
    assert_eq!(
        changed(Position::START, tags).await,
        ["m.tag"],
        "m.direct comes when it is newest"
    );
    assert!(changed(again, Position::END).await.is_empty());
}

#[tokio::test]
async fn account_data_has_bounds() {
    let server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    let put = async |user: &UserId, data_type: &str, content| {
        let content = to_raw_value(&content).unwrap();
        server
            .users()
            .put_account_data(user, None, data_type, &content)
            .await
    };
    for content in [json!([]), json!("x"), json!(1), json!(null)] {
        assert!(matches!(
            put(&alice, "a", content).await,
            Err(PutAccountDataError::NotAnObject)
        ));
    }
    for data_type in ["", &"x".repeat(256)] {
        assert!(matches!(
            put(&alice, data_type, json!({})).await,
            Err(PutAccountDataError::Type)
        ));
    }
    let large = put(&alice, "a", json!({ "x": "x".repeat(70_000) })).await;
    assert!(matches!(large, Err(PutAccountDataError::TooLarge { .. })));
    let nobody = put(user_id!("@nobody:hanse.test"), "a", json!({})).await;
    assert!(matches!(nobody, Err(PutAccountDataError::Unknown)));
    assert!(
        server
            .users()
            .all_account_data(&alice)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn push_rules_are_the_defaults_until_they_are_set() {
    let server = Server::start().await;
    let (users, alice) = (server.users(), server.register("alice").await.user_id);
    let master = ".m.rule.master";
    let enable = |to: bool| {
        move |rules: &mut Ruleset| {
            rules.set_enabled(RuleKind::Override, master, to).unwrap();
            Ok::<_, PutAccountDataError>(())
        }
    };
    assert_eq!(users.push_rules(&alice).await.unwrap().position, None);
    users.edit_push_rules(&alice, enable(false)).await.unwrap();
    let same = users.push_rules(&alice).await.unwrap();
    assert_eq!(same.position, None, "nothing is written for nothing");
    users.edit_push_rules(&alice, enable(true)).await.unwrap();
    let rules = users.push_rules(&alice).await.unwrap();
    assert!(rules.position.is_some());
    let master = rules.ruleset.get(RuleKind::Override, master);
    assert!(master.unwrap().enabled());
}

#[tokio::test]
async fn of_edits_at_the_same_time_none_is_lost() {
    let server = Server::start().await;
    let (users, alice) = (server.users(), server.register("alice").await.user_id);
    let edits = (0..8).map(|number| {
        users.edit_account_data(&alice, None, "org.example.set", move |now| {
            let now = now.map(|now| serde_json::from_str::<JsonObject>(now.get()).unwrap());
            let mut content = now.unwrap_or_default();
            content.insert(number.to_string(), json!(true));
            Ok::<_, PutAccountDataError>(Some(to_raw_value(&content).unwrap()))
        })
    });
    for edited in join_all(edits).await {
        edited.unwrap();
    }
    let kept = users.account_data(&alice, None, "org.example.set").await;
    let kept: JsonObject = serde_json::from_str(kept.unwrap().unwrap().content.get()).unwrap();
    assert_eq!(kept.len(), 8);
}

#[tokio::test]
async fn a_filter_is_kept_once_for_its_user() {
    let mut server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    let bob = server.register("bob").await.user_id;
    let mut filter = FilterDefinition::default();
    filter.room.timeline.limit = Some(7u32.into());
    let id = server.users().create_filter(&alice, &filter).await.unwrap();
    assert_eq!(
        server.users().create_filter(&alice, &filter).await.unwrap(),
        id
    );
    server.crash_and_restart().await;
    let users = server.users();
    let read = users.filter(&alice, &id).await.unwrap().unwrap();
    assert_eq!(read.room.timeline.limit, Some(7u32.into()));
    for (user, id) in [(&bob, id.as_str()), (&alice, "0"), (&alice, "")] {
        assert!(users.filter(user, id).await.unwrap().is_none());
    }
    filter.event_fields = Some(vec!["x".repeat(40_000)]);
    let large = users.create_filter(&alice, &filter).await;
    assert!(matches!(large, Err(CreateFilterError::TooLarge { .. })));
}

#[tokio::test]
async fn a_forgotten_room_is_remembered_by_who_comes_back() {
    let server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    let room = room_id!("!r:hanse.test");
    let users = server.users();
    assert!(users.forgotten_room(&alice, room).await.unwrap().is_none());
    let left = Position::new(7, 0);
    users.forget_room(&alice, room, left).await.unwrap();
    // An older leave that comes late does not remember.
    users
        .forget_room(&alice, room, Position::new(3, 0))
        .await
        .unwrap();
    let forgotten = users.forgotten_room(&alice, room).await.unwrap().unwrap();
    assert!(forgotten.covers(left));
    assert!(!forgotten.covers(Position::new(8, 0)));
    assert_eq!(users.forgotten_rooms(&alice).await.unwrap(), [forgotten]);
}

#[tokio::test]
async fn membership_notices_are_a_feed_of_the_users_slot() {
    let server = Server::start().await;
    let alice = user_id!("@alice:hanse.test");
    let slot = server.logs().slot_of(alice.as_str());
    let mut positions = Vec::new();
    for membership in ["invite", "join"] {
        let notice = MembershipNotice {
            room_id: "!r:hanse.test".to_owned(),
            membership: membership.to_owned(),
        };
        let kind = Some(user_entry::Kind::Membership(notice));
        let user = UserEntry {
            user_id: alice.to_string(),
            kind,
        };
        let entry = Entry {
            kind: Some(Kind::User(user)),
            ..Entry::default()
        };
        let ticket = server.logs().submit(slot, None, vec![entry]).unwrap();
        positions.push(ticket.applied().await.unwrap());
    }
    let noticed = async |after, up_to| {
        let noticed = server
            .users()
            .memberships_noticed(alice, after, up_to, 10)
            .await
            .unwrap();
        noticed
            .into_iter()
            .map(|noticed| noticed.membership)
            .collect::<Vec<_>>()
    };
    let (invite, join) = (MembershipState::Invite, MembershipState::Join);
    assert_eq!(
        noticed(Position::START, Position::END).await,
        [invite.clone(), join.clone()]
    );
    assert_eq!(noticed(positions[0], Position::END).await, [join]);
    assert_eq!(noticed(Position::START, positions[0]).await, [invite]);
}

#[tokio::test]
async fn users_are_found_by_the_beginnings_of_their_names() {
    let server = Server::start().await;
    let found = async |term: &str, limit: usize| {
        let found = server.users().search_users(term, limit).await.unwrap();
        let ids: Vec<_> = found
            .users
            .iter()
            .map(|u| u.user_id.localpart().to_owned())
            .collect();
        (ids, found.limited)
    };
    let all = |ids: &[&str]| {
        (
            ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>(),
            false,
        )
    };
    for (localpart, display_name) in [("ada", "Ada Lovelace"), ("alan", "Alan Turing")] {
        let user = server.register(localpart).await.user_id;
        server
            .users()
            .set_profile_field(&user, &name(display_name))
            .await
            .unwrap();
    }
    let adam = server.register("adam").await.user_id;
    assert_eq!(found("AD", 10).await, all(&["ada", "adam"]));
    assert_eq!(found("@ada", 10).await, all(&["ada", "adam"]));
    assert_eq!(found("lovelace ada", 10).await, all(&["ada"]));
    assert_eq!(found("love tur", 10).await, all(&[]));
    assert_eq!(found(" ", 10).await, all(&[]));
    assert!(found("a", 2).await.1);

    let alan = user_id!("@alan:hanse.test");
    server
        .users()
        .set_profile_field(alan, &name("Ada"))
        .await
        .unwrap();
    assert_eq!(
        found("turing", 10).await,
        all(&[]),
        "the name before finds nobody"
    );
    server.users().deactivate(&adam, false).await.unwrap();
    assert_eq!(found("ada", 10).await, all(&["ada", "alan"]));
}
