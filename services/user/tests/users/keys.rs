//! Keys of devices.

use std::collections::{BTreeMap, BTreeSet};

use hanse_proto::{
    log::{Entry, entry::Kind},
    user::user_entry,
};
use hanse_user::{BadKeys, KeysUpload, UploadKeysError, Users};
use ruma::{DeviceId, OneTimeKeyAlgorithm, UserId, device_id, serde::Raw};
use serde_json::{Value, json};

use crate::server::Server;

const SIGNED: OneTimeKeyAlgorithm = OneTimeKeyAlgorithm::SignedCurve25519;

fn device_keys(user_id: &UserId, device_id: &DeviceId, key: &str) -> KeysUpload {
    let keys = json!({
        "user_id": user_id, "device_id": device_id, "algorithms": ["m.olm"],
        "keys": { format!("ed25519:{device_id}"): key }, "signatures": {},
    });
    KeysUpload {
        device_keys: Some(Raw::new(&keys).unwrap().cast_unchecked()),
        ..KeysUpload::default()
    }
}

fn key(id: &str, value: &str) -> (String, Value) {
    let key = json!({ "key": value, "signatures": { "@a:b": { "ed25519:D": "s" } } });
    (format!("signed_curve25519:{id}"), key)
}

fn one_time(ids: &[&str]) -> KeysUpload {
    let keys: BTreeMap<_, _> = ids.iter().map(|id| key(id, id)).collect();
    KeysUpload {
        one_time_keys: serde_json::from_value(json!(keys)).unwrap(),
        ..KeysUpload::default()
    }
}

fn fallback(id: &str) -> KeysUpload {
    let keys = BTreeMap::from([key(id, id)]);
    KeysUpload {
        fallback_keys: serde_json::from_value(json!(keys)).unwrap(),
        ..KeysUpload::default()
    }
}

async fn upload(users: &Users, user_id: &UserId, upload: KeysUpload) -> u64 {
    let counts = users.upload_keys(user_id, device_id!("D"), &upload).await;
    counts.unwrap().remove(&SIGNED).unwrap()
}

/// The id of a claimed key.
async fn claim(users: &Users, user_id: &UserId) -> Option<String> {
    let wanted = BTreeMap::from([(device_id!("D").to_owned(), SIGNED)]);
    let claimed = users.claim_keys(user_id, &wanted).await.ok()?;
    let of_device = claimed.into_values().next()?;
    of_device.into_keys().next().map(|id| id.to_string())
}

fn is_claim(entry: &Entry) -> bool {
    let Some(Kind::User(user)) = &entry.kind else {
        return false;
    };
    matches!(user.kind, Some(user_entry::Kind::OneTimeKeyClaimed(_)))
}

/// Ours 69. Sabotage: claim outside of the user's turn, or answer before the claim is applied.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_key_is_claimed_once_by_64_at_once() {
    let server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    server.log_in(&alice, Some("D")).await;
    let ids: Vec<String> = (0..40).map(|at| format!("{at:02}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    assert_eq!(upload(server.users(), &alice, one_time(&ids)).await, 40);
    let claimed = server.at_once(64, |users, _| {
        let alice = alice.clone();
        async move { claim(&users, &alice).await }
    });
    let claimed: Vec<String> = claimed.await.into_iter().flatten().collect();
    let different: BTreeSet<_> = claimed.iter().collect();
    assert_eq!((claimed.len(), different.len()), (40, 40));
    assert_eq!(claim(server.users(), &alice).await, None);
}

/// Sabotage: hand out a key whose claim is not in the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crash_hands_no_key_out_twice() {
    let mut server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    server.log_in(&alice, Some("D")).await;
    let ids: Vec<String> = (0..60).map(|at| format!("{at:02}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    upload(server.users(), &alice, one_time(&ids)).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        let calls: Vec<_> = (0..8)
            .map(|_| {
                let (users, alice) = (server.users().clone(), alice.clone());
                server.spawn(async move { claim(&users, &alice).await })
            })
            .collect();
        seen.extend(claim(server.users(), &alice).await);
        server.crash_and_restart().await;
        for call in calls {
            seen.extend(call.await.ok().into_iter().flatten().flatten());
        }
    }
    while let Some(id) = claim(server.users(), &alice).await {
        seen.push(id);
    }
    let different: BTreeSet<_> = seen.iter().collect();
    assert_eq!(seen.len(), different.len(), "{seen:?}");
    assert!(server.entries(is_claim) > 0);
}

/// Sabotage: forget the hashes of claimed keys.
#[tokio::test]
async fn a_claimed_key_that_is_uploaded_again_is_not_claimed_again() {
    let server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    server.log_in(&alice, Some("D")).await;
    let users = server.users();
    upload(users, &alice, one_time(&["A", "B"])).await;
    assert!(claim(users, &alice).await.unwrap().ends_with(":A"));
    // The client never got the answer to its upload.
    assert_eq!(upload(users, &alice, one_time(&["A", "B", "C"])).await, 2);
    assert!(claim(users, &alice).await.unwrap().ends_with(":B"));
    assert!(claim(users, &alice).await.unwrap().ends_with(":C"));
    assert_eq!(claim(users, &alice).await, None);
}

#[tokio::test]
async fn another_key_under_a_waiting_id_is_refused() {
    let server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    server.log_in(&alice, Some("D")).await;
    let users = server.users();
    upload(users, &alice, one_time(&["A"])).await;
    let other = BTreeMap::from([key("A", "another")]);
    let other = KeysUpload {
        one_time_keys: serde_json::from_value(json!(other)).unwrap(),
        ..KeysUpload::default()
    };
    let refused = users.upload_keys(&alice, device_id!("D"), &other).await;
    assert!(matches!(refused, Err(UploadKeysError::Conflict { .. })));
}

/// Sabotage: keep the flag of a fallback key that was used when it is replaced, or drop it when the
/// same is uploaded again.
#[tokio::test]
async fn a_fallback_key_is_used_until_it_is_replaced() {
    let mut server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    server.log_in(&alice, Some("D")).await;
    upload(server.users(), &alice, one_time(&["A"])).await;
    upload(server.users(), &alice, fallback("F")).await;
    let unused = async |users: &Users| {
        let status = users.key_status(&alice, device_id!("D")).await.unwrap();
        status.unused_fallbacks.len()
    };
    assert_eq!(unused(server.users()).await, 1);
    for expected in ["A", "F", "F"] {
        let claimed = claim(server.users(), &alice).await.unwrap();
        assert!(claimed.ends_with(expected), "{claimed}");
    }
    assert_eq!(unused(server.users()).await, 0);
    server.crash_and_restart().await;
    upload(server.users(), &alice, fallback("F")).await;
    assert_eq!(unused(server.users()).await, 0, "the same key again");
    upload(server.users(), &alice, fallback("G")).await;
    assert_eq!(unused(server.users()).await, 1);
    assert!(claim(server.users(), &alice).await.unwrap().ends_with('G'));
}

/// Sabotage: leave one-time keys where a device goes, or where its identity does.
#[tokio::test]
async fn keys_go_with_the_device_and_with_its_identity() {
    let server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    let users = server.users();
    let started = server.log_in(&alice, Some("D")).await;
    upload(users, &alice, device_keys(&alice, device_id!("D"), "one")).await;
    upload(users, &alice, one_time(&["A", "B"])).await;
    upload(users, &alice, fallback("F")).await;
    upload(users, &alice, device_keys(&alice, device_id!("D"), "two")).await;
    assert_eq!(
        claim(users, &alice).await,
        None,
        "signed by the former identity"
    );
    assert_eq!(upload(users, &alice, one_time(&["A"])).await, 1);
    let session = server.authenticate(&started).await.unwrap();
    users.logout(&session).await.unwrap();
    assert!(
        users
            .keys_of(&alice, &[], &alice)
            .await
            .unwrap()
            .device_keys
            .is_empty()
    );
    let late = one_time(&["C"]);
    let gone = users.upload_keys(&alice, device_id!("D"), &late).await;
    assert!(matches!(gone, Err(UploadKeysError::UnknownDevice)));
    server.log_in(&alice, Some("D")).await;
    assert_eq!(claim(users, &alice).await, None);
    assert_eq!(upload(users, &alice, KeysUpload::default()).await, 0);
}

#[tokio::test]
async fn a_device_has_so_many_keys_and_no_more() {
    let server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    server.log_in(&alice, Some("D")).await;
    let users = server.users();
    for page in 0..10 {
        let ids: Vec<String> = (0..100).map(|at| format!("{page}-{at}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        upload(users, &alice, one_time(&ids)).await;
    }
    let device = device_id!("D");
    let refused = users.upload_keys(&alice, device, &one_time(&["A"])).await;
    assert!(matches!(refused, Err(UploadKeysError::TooMany)));
    let large = BTreeMap::from([key("A", &"x".repeat(5_000))]);
    let large = KeysUpload {
        one_time_keys: serde_json::from_value(json!(large)).unwrap(),
        ..KeysUpload::default()
    };
    let refused = users.upload_keys(&alice, device, &large).await;
    let Err(UploadKeysError::Bad(BadKeys::TooLarge { .. })) = refused else {
        panic!("{refused:?}");
    };
}
