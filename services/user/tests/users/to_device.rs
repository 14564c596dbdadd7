//! Messages to devices.

use std::{collections::BTreeMap, time::Duration};

use hanse_log::Position;
use hanse_proto::{
    log::{Entry, entry::Kind},
    user::user_entry,
};
use hanse_user::{SendToDeviceError, ToDeviceMessages, Users};
use ruma::{DeviceId, OwnedUserId, UserId, device_id, serde::Raw, to_device::DeviceIdOrAllDevices};
use serde_json::{Value, json};

use crate::server::Server;

fn request(txn_id: &str, messages: &[(&UserId, &str, Value)]) -> ToDeviceMessages {
    let mut by_user: BTreeMap<OwnedUserId, BTreeMap<_, _>> = BTreeMap::new();
    for (user_id, device, content) in messages {
        let device = DeviceIdOrAllDevices::try_from(*device).unwrap();
        let content = Raw::new(content).unwrap().cast_unchecked();
        by_user
            .entry((*user_id).to_owned())
            .or_default()
            .insert(device, content);
    }
    ToDeviceMessages {
        event_type: "t".to_owned(),
        txn_id: txn_id.to_owned(),
        messages: by_user,
    }
}

async fn send(users: &Users, from: &UserId, request: &ToDeviceMessages) {
    let sent = users.send_to_device((from, device_id!("S")), request).await;
    sent.unwrap();
}

/// The numbers of the messages that wait for a device.
async fn waiting(users: &Users, user_id: &UserId, device_id: &DeviceId) -> Vec<i64> {
    let mut numbers = Vec::new();
    let mut after = Position::START;
    loop {
        let page = users.to_device((user_id, device_id), after, Position::END);
        let page = page.await.unwrap();
        for event in &page.events {
            let event: Value = event.deserialize_as_unchecked().unwrap();
            numbers.push(event.pointer("/content/n").and_then(Value::as_i64).unwrap());
        }
        after = page.last.unwrap_or(after);
        if !page.more {
            return numbers;
        }
    }
}

fn is_sent(entry: &Entry) -> bool {
    let Some(Kind::User(user)) = &entry.kind else {
        return false;
    };
    matches!(user.kind, Some(user_entry::Kind::ToDeviceSent(_)))
}

async fn two(server: &Server) -> (OwnedUserId, OwnedUserId) {
    let alice = server.register("alice").await.user_id;
    let bob = server.register("bob").await.user_id;
    server.log_in(&alice, Some("S")).await;
    for device in ["A", "B", "C"] {
        server.log_in(&bob, Some(device)).await;
    }
    (alice, bob)
}

/// Sabotage: answer before the relay has arrived: the next request then finds nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_message_waits_when_its_sender_is_answered() {
    let server = Server::start().await;
    let (alice, bob) = two(&server).await;
    for n in 0..20 {
        let message = request(&format!("{n}"), &[(&bob, "A", json!({ "n": n }))]);
        send(server.users(), &alice, &message).await;
        let waiting = waiting(server.users(), &bob, device_id!("A")).await;
        assert_eq!(waiting.last(), Some(&n));
    }
}

/// Sabotage: let the wildcard reach a device that has a message of its own, or the later ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_devices_are_those_that_there_are() {
    let server = Server::start().await;
    let (alice, bob) = two(&server).await;
    let users = server.users();
    let own = (&*bob, "B", json!({ "n": 2 }));
    send(
        users,
        &alice,
        &request("1", &[(&bob, "*", json!({ "n": 1 })), own]),
    )
    .await;
    send(
        users,
        &alice,
        &request("2", &[(&bob, "NONE", json!({ "n": 3 }))]),
    )
    .await;
    server.log_in(&bob, Some("LATE")).await;
    assert_eq!(waiting(users, &bob, device_id!("A")).await, [1]);
    assert_eq!(waiting(users, &bob, device_id!("B")).await, [2]);
    for device in [device_id!("LATE"), device_id!("NONE")] {
        assert!(waiting(users, &bob, device).await.is_empty());
    }
}

/// Sabotage: look for the transaction before the turn begins.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_repeat_sends_nothing_again_also_at_once_and_after_a_crash() {
    let mut server = Server::start().await;
    let (alice, bob) = two(&server).await;
    let message = request("1", &[(&bob, "A", json!({ "n": 1 }))]);
    server
        .at_once(8, |users, _| {
            let (alice, message) = (alice.clone(), message.clone());
            async move { send(&users, &alice, &message).await }
        })
        .await;
    server.crash_and_restart().await;
    send(server.users(), &alice, &message).await;
    assert_eq!(waiting(server.users(), &bob, device_id!("A")).await, [1]);
}

/// A request that fits into no batch, cut in the middle again and again: each message once.
/// Sabotage: number the parts by what is left to send.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_large_request_survives_crashes_whole() {
    let mut server = Server::start().await;
    let (alice, bob) = two(&server).await;
    let filler = "x".repeat(40_000);
    let content = |n: i64| json!({ "n": n, "filler": filler });
    let devices: Vec<String> = (0..12).map(|at| format!("D{at:02}")).collect();
    for device in &devices {
        server.log_in(&bob, Some(device)).await;
    }
    let messages: Vec<_> = (0..)
        .zip(&devices)
        .map(|(n, device)| (&*bob, device.as_str(), content(n)))
        .collect();
    let message = request("1", &messages);
    for _ in 0..3 {
        let (users, alice) = (server.users().clone(), alice.clone());
        let message = message.clone();
        let sending = server.spawn(async move {
            let _ = users
                .send_to_device((&alice, device_id!("S")), &message)
                .await;
        });
        tokio::time::sleep(Duration::from_millis(15)).await;
        server.crash_and_restart().await;
        let _ = sending.await;
    }
    send(server.users(), &alice, &message).await;
    assert!(server.entries(is_sent) > 0);
    for (n, device) in (0..).zip(&devices) {
        let device: &DeviceId = device.as_str().into();
        assert_eq!(waiting(server.users(), &bob, device).await, [n], "{device}");
    }
}

/// Ours 70. Sabotage: remove more than was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_acknowledged_goes_and_nothing_else() {
    let mut server = Server::start().await;
    let (alice, bob) = two(&server).await;
    for n in 0..150 {
        let all = (&*bob, "*", json!({ "n": n }));
        send(server.users(), &alice, &request(&format!("{n}"), &[all])).await;
    }
    let device = (&*bob, device_id!("A"));
    let page = server
        .users()
        .to_device(device, Position::START, Position::END);
    let page = page.await.unwrap();
    assert!(page.more && page.events.len() == 100);
    let removed = server.users().remove_to_device(device, page.last.unwrap());
    removed.await.unwrap();
    server.crash_and_restart().await;
    let left: Vec<i64> = (100..150).collect();
    assert_eq!(waiting(server.users(), &bob, device_id!("A")).await, left);
    assert_eq!(
        waiting(server.users(), &bob, device_id!("B")).await.len(),
        150
    );
    let removed = server.users().remove_to_device(device, Position::END);
    removed.await.unwrap();
    assert!(
        waiting(server.users(), &bob, device_id!("A"))
            .await
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn messages_go_with_their_device() {
    let server = Server::start().await;
    let (alice, bob) = two(&server).await;
    let users = server.users();
    send(
        users,
        &alice,
        &request("1", &[(&bob, "*", json!({ "n": 1 }))]),
    )
    .await;
    users
        .delete_devices(&bob, &[device_id!("A").to_owned()])
        .await
        .unwrap();
    server.log_in(&bob, Some("A")).await;
    assert!(waiting(users, &bob, device_id!("A")).await.is_empty());
    assert_eq!(waiting(users, &bob, device_id!("B")).await, [1]);
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_whole() {
    let server = Server::start().await;
    let (alice, bob) = two(&server).await;
    let from = (&*alice, device_id!("S"));
    let large = json!({ "n": 1, "filler": "x".repeat(70_000) });
    let good = (&*bob, "A", json!({ "n": 1 }));
    for (bad, expected) in [(large, "too large"), (json!("text"), "no object")] {
        let both = request("1", &[good.clone(), (&bob, "B", bad)]);
        let refused = server.users().send_to_device(from, &both).await;
        match (refused, expected) {
            (Err(SendToDeviceError::TooLarge { .. }), "too large")
            | (Err(SendToDeviceError::NotAnObject), "no object") => {}
            (other, _) => panic!("{expected}: {other:?}"),
        }
    }
    let long = request(&"x".repeat(300), &[good]);
    let refused = server.users().send_to_device(from, &long).await;
    assert!(matches!(refused, Err(SendToDeviceError::Id)));
    assert!(
        waiting(server.users(), &bob, device_id!("A"))
            .await
            .is_empty()
    );
}

/// Sabotage: send whatever the count says.
#[tokio::test]
async fn a_device_that_never_asks_keeps_the_oldest_messages() {
    let server = Server::start_with(|config| config.to_device_waiting_max = 30).await;
    let users = server.users();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let (alice, bob) = (alice.user_id, bob.user_id);
    server.log_in(&bob, Some("D")).await;
    server.log_in(&bob, Some("E")).await;
    let send_50 = async |from: i64, device: &str| {
        for n in from..from + 50 {
            let txn_id = format!("{device}{n}");
            send(
                users,
                &alice,
                &request(&txn_id, &[(&bob, device, json!({ "n": n }))]),
            )
            .await;
        }
    };
    send_50(0, "D").await;
    let kept: Vec<i64> = (0..30).collect();
    assert_eq!(waiting(users, &bob, device_id!("D")).await, kept);
    // The other device is not concerned; this one takes messages again when it has asked.
    send_50(100, "E").await;
    assert_eq!(waiting(users, &bob, device_id!("E")).await.len(), 30);
    let all = (&*bob, device_id!("D"));
    users.remove_to_device(all, Position::END).await.unwrap();
    server.pass(Duration::from_mins(1));
    send_50(200, "D").await;
    let kept: Vec<i64> = (200..230).collect();
    assert_eq!(waiting(users, &bob, device_id!("D")).await, kept);
}
