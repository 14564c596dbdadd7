//! Key backups.

use std::collections::BTreeSet;

use hanse_user::{BackedUpKey, BackupError, Users};
use ruma::{UserId, room_id, serde::Raw};
use serde_json::json;

use crate::server::Server;

fn key(room: usize, session: usize) -> BackedUpKey {
    let data = json!({
        "first_message_index": 0, "forwarded_count": 0, "is_verified": true,
        "session_data": { "n": session },
    });
    BackedUpKey {
        room_id: format!("!room{room}:x").try_into().unwrap(),
        session_id: format!("s{session}"),
        data: Raw::new(&data).unwrap().cast_unchecked(),
    }
}

async fn version(users: &Users, user_id: &UserId) -> i64 {
    let algorithm = json!({ "algorithm": "a", "auth_data": {} });
    let algorithm = Raw::new(&algorithm).unwrap().cast_unchecked();
    users.create_backup(user_id, &algorithm).await.unwrap()
}

/// Every key, page by page: session ids by room.
async fn all(users: &Users, user_id: &UserId, version: i64) -> BTreeSet<(String, String)> {
    let (mut keys, mut cursor) = (BTreeSet::new(), None);
    loop {
        let page = users
            .room_keys(user_id, version, None, cursor)
            .await
            .unwrap();
        for key in page.keys {
            assert!(keys.insert((key.room_id.to_string(), key.session_id)));
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => return keys,
        }
    }
}

/// Rows that are left of a version.
async fn left(server: &Server, user_id: &UserId, version: i64) -> usize {
    let mut rows = 0;
    for bucket in 0_i64..16 {
        let partition = vec![user_id.as_str().into(), version.into(), bucket.into()];
        rows += server.rows("room_keys", partition).await;
    }
    rows
}

/// Sabotage: count outside of the user's turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_put_at_once_is_counted_once() {
    let server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    let version = version(server.users(), &alice).await;
    // Each key is put by two.
    let puts = server.at_once(16, |users, at| {
        let alice = alice.clone();
        async move {
            let keys: Vec<_> = (0..20).map(|session| key(at / 2, session)).collect();
            users.put_room_keys(&alice, version, &keys).await.unwrap();
        }
    });
    puts.await;
    let users = server.users();
    let found = users.newest_backup(&alice).await.unwrap();
    assert_eq!((found.state.count, found.state.etag), (160, 8));
    assert_eq!(all(users, &alice, version).await.len(), 160);
}

/// Pages end in the middle of rooms and of partitions. Sabotage: begin a page at its cursor, or take the
/// rows of one partition for all.
#[tokio::test]
async fn pages_lose_nothing() {
    let server = Server::start().await;
    let users = server.users();
    let alice = server.register("alice").await.user_id;
    let version = version(users, &alice).await;
    let keys: Vec<_> = (0..1_234).map(|at| key(at % 37, at)).collect();
    users.put_room_keys(&alice, version, &keys).await.unwrap();
    let expected: BTreeSet<_> = keys
        .iter()
        .map(|key| (key.room_id.to_string(), key.session_id.clone()))
        .collect();
    assert_eq!(all(users, &alice, version).await, expected);
    let removed = users.remove_room_keys(&alice, version, Some(room_id!("!room5:x")), None);
    assert_eq!(removed.await.unwrap().count, 1_234 - 34);
    assert_eq!(all(users, &alice, version).await.len(), 1_234 - 34);
}

/// Sabotage: let a number go with its version, or do not begin the removal again.
#[tokio::test]
async fn a_removed_version_leaves_no_keys_also_after_a_crash() {
    let mut server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    let first = version(server.users(), &alice).await;
    let keys: Vec<_> = (0..2_000).map(|at| key(at % 7, at)).collect();
    server
        .users()
        .put_room_keys(&alice, first, &keys)
        .await
        .unwrap();
    server.users().remove_backup(&alice, first).await.unwrap();
    server.crash_and_restart().await;
    let read = server.users().room_keys(&alice, first, None, None).await;
    assert!(matches!(read, Err(BackupError::UnknownVersion)), "{read:?}");
    let second = version(server.users(), &alice).await;
    assert!(second > first);
    while left(&server, &alice, first).await > 0 {
        tokio::task::yield_now().await;
    }
    let third = version(server.users(), &alice).await;
    assert!(third > second);
}
