//! Aliases: one room for each, known to the room.

use std::time::Duration;

use hanse_proto::{
    log::{Entry, entry::Kind},
    room::{AliasOfRoom, room_entry},
    user::name_entry,
};
use hanse_user::{CreateAliasError, RemoveAliasError};
use ruma::{OwnedRoomId, room_alias_id, room_id, user_id};

use crate::server::Server;

fn of_room(entry: &Entry) -> Option<&AliasOfRoom> {
    let Some(Kind::Room(room)) = &entry.kind else {
        return None;
    };
    match &room.kind {
        Some(room_entry::Kind::Alias(alias)) => Some(alias),
        _ => None,
    }
}

fn creates_alias(entry: &Entry) -> bool {
    let Some(Kind::Name(name)) = &entry.kind else {
        return false;
    };
    matches!(&name.kind, Some(name_entry::Kind::Alias(alias)) if !alias.removed)
}

#[tokio::test]
async fn an_alias_points_somewhere_until_it_is_removed_and_its_room_hears_of_it() {
    let mut server = Server::start().await;
    let (alias, room) = (room_alias_id!("#a:hanse.test"), room_id!("!r:hanse.test"));
    let alice = user_id!("@alice:hanse.test");
    let mut follower = server.logs().follow();
    let made = server
        .users()
        .create_alias(alias, room, alice)
        .await
        .unwrap();
    let taken = server
        .users()
        .create_alias(alias, room_id!("!other:hanse.test"), alice)
        .await;
    assert!(matches!(taken, Err(CreateAliasError::Taken)));
    let heard = loop {
        let batch = follower.next().await.unwrap().unwrap();
        if let Some(alias) = batch.entries.iter().find_map(of_room) {
            break alias.clone();
        }
    };
    assert_eq!(
        heard,
        AliasOfRoom {
            alias: alias.to_string(),
            removed: false
        }
    );

    drop(follower);
    server.crash_and_restart().await;
    assert_eq!(
        server.users().alias(alias).await.unwrap(),
        Some(made.clone())
    );
    server.users().remove_alias(&made).await.unwrap();
    assert_eq!(server.users().alias(alias).await.unwrap(), None);
    let again = server
        .users()
        .create_alias(alias, room, alice)
        .await
        .unwrap();
    let stale = server.users().remove_alias(&made).await;
    assert!(
        matches!(stale, Err(RemoveAliasError::Unknown)),
        "it was made again since"
    );
    server.users().remove_alias(&again).await.unwrap();
}

#[tokio::test]
async fn an_alias_of_another_server_is_refused() {
    let server = Server::start().await;
    let foreign = server.users().create_alias(
        room_alias_id!("#a:elsewhere.test"),
        room_id!("!r:hanse.test"),
        user_id!("@alice:hanse.test"),
    );
    assert!(matches!(foreign.await, Err(CreateAliasError::Foreign)));
}

/// Sabotage: create without the name's turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_16_rooms_that_want_an_alias_one_gets_it() {
    let server = Server::start().await;
    let results = server.at_once(16, |users, at| async move {
        let room: OwnedRoomId = format!("!r{at}:hanse.test").try_into().unwrap();
        let alias = room_alias_id!("#a:hanse.test");
        users
            .create_alias(alias, &room, user_id!("@alice:hanse.test"))
            .await
    });
    assert_eq!(
        results.await.iter().filter(|result| result.is_ok()).count(),
        1
    );
    assert_eq!(server.entries(creates_alias), 1);
}

/// Sabotage: let the turn end with its caller (`drop(held)` before the ticket is awaited).
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_caller_that_goes_away_does_not_unlock_what_is_under_way() {
    let server = Server::start().await;
    let room = room_id!("!r:hanse.test");
    let alice = user_id!("@alice:hanse.test");
    let mut made = 0;
    for at in 0..60 {
        let alias = format!("#a{at}:hanse.test").try_into().unwrap();
        let alias: &ruma::OwnedRoomAliasId = &alias;
        let patience = Duration::from_micros(at * 20);
        let gone = server.users().create_alias(alias, room, alice);
        let _ = tokio::time::timeout(patience, gone).await;
        let _ = server.users().create_alias(alias, room, alice).await;
        made += 1;
    }
    server.settle().await;
    assert_eq!(
        server.entries(creates_alias),
        made,
        "each alias was made once"
    );
}
