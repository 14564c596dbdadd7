//! Sessions and devices.

use std::net::{IpAddr, Ipv4Addr};

use hanse_user::{AuthenticateError, DeviceError, NewSession, StartSessionError};
use ruma::{OwnedDeviceId, device_id};

use crate::server::{Server, vouched};

#[tokio::test]
async fn a_session_survives_a_crash_and_its_token_is_kept_nowhere() {
    let mut server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    let started = server.log_in(&alice, None).await;
    let session = server.authenticate(&started).await.unwrap();
    assert_eq!(
        (&session.user_id, &session.device_id),
        (&alice, &started.device_id)
    );
    assert_eq!(session.expires_at_ms, None);
    server.crash_and_restart().await;
    assert_eq!(server.authenticate(&started).await, Some(session));
    assert!(!server.wrote(&started.tokens.access_token));
    assert!(
        server.wrote("@alice:hanse.test"),
        "the spy sees what is written"
    );
}

#[tokio::test]
async fn what_is_no_token_lets_nobody_in() {
    let server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    let started = server.log_in_refreshing(&alice).await;
    let refresh_token = started.tokens.refresh_token.clone().unwrap();
    let long = format!("hsa_{}", "x".repeat(100_000));
    let renamed = refresh_token.replace("hsr_", "hsa_");
    for token in ["", "hsa_", "x", &long, &refresh_token, &renamed] {
        let refused = server.users().authenticate(token).await;
        assert!(matches!(refused, Err(AuthenticateError::Unknown)));
    }
}

/// Sabotage: do not void the cache in `commit`.
#[tokio::test]
async fn a_logout_takes_effect_at_once_and_for_ever() {
    let mut server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    let (gone, stays) = (
        server.log_in(&alice, None).await,
        server.log_in(&alice, None).await,
    );
    let session = server.authenticate(&gone).await.unwrap();
    assert!(server.authenticate(&stays).await.is_some());

    server.users().logout(&session).await.unwrap();
    assert!(server.authenticate(&gone).await.is_none());
    assert!(server.authenticate(&stays).await.is_some());
    assert_eq!(server.users().devices(&alice).await.unwrap().len(), 1);
    server.users().logout(&session).await.unwrap();
    server.crash_and_restart().await;
    assert!(server.authenticate(&gone).await.is_none());

    server.users().logout_all(&alice).await.unwrap();
    assert!(server.authenticate(&stays).await.is_none());
    assert!(server.users().devices(&alice).await.unwrap().is_empty());
}

/// Sabotage: do not void the cache in `commit`. (The fence's own test is beside it.)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_logout_among_many_readers_is_final() {
    let server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    for _ in 0..20 {
        let started = server.log_in(&alice, None).await;
        let session = server.authenticate(&started).await.unwrap();
        let token = started.tokens.access_token.clone();
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let (users, token) = (server.users().clone(), token.clone());
                server.spawn(async move {
                    while users.authenticate(&token).await.is_ok() {
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        server.users().logout(&session).await.unwrap();
        assert!(server.authenticate(&started).await.is_none());
        for reader in readers {
            reader.await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn a_device_that_logs_in_again_loses_its_tokens_and_keeps_its_name() {
    let server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    let named = NewSession {
        initial_display_name: Some("phone".to_owned()),
        ..vouched(&alice, Some("D"), true)
    };
    let first = server.users().start_session(named).await.unwrap();
    let old = server.authenticate(&first).await.unwrap();
    let renamed = NewSession {
        initial_display_name: Some("other".to_owned()),
        ..vouched(&alice, Some("D"), false)
    };
    let second = server.users().start_session(renamed).await.unwrap();

    assert!(server.authenticate(&first).await.is_none());
    assert!(
        server
            .users()
            .refresh(first.tokens.refresh_token.as_ref().unwrap())
            .await
            .is_err()
    );
    // The session that was taken over logs out: it ends nothing of its successor's.
    server.users().logout(&old).await.unwrap();
    assert!(server.authenticate(&second).await.is_some());
    let device = server
        .users()
        .device(&alice, device_id!("D"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(device.display_name.as_deref(), Some("phone"));
}

#[tokio::test]
async fn devices_are_named_seen_and_deleted() {
    let server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    let mut started = Vec::new();
    for id in ["A", "B", "C"] {
        started.push(server.log_in(&alice, Some(id)).await);
    }
    let users = server.users();
    users
        .rename_device(&alice, device_id!("B"), Some("laptop"))
        .await
        .unwrap();
    let session = server.authenticate(&started[1]).await.unwrap();
    users.saw(&session, Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    let b = users
        .device(&alice, device_id!("B"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(b.display_name.as_deref(), Some("laptop"));
    assert_eq!(b.last_seen_ip.as_deref(), Some("127.0.0.1"));
    assert_eq!(u64::from(b.last_seen_ts.unwrap().get()), 1_700_000_000_000);
    let unknown = users.rename_device(&alice, device_id!("X"), None).await;
    assert!(matches!(unknown, Err(DeviceError::Unknown)));
    let long = users
        .rename_device(&alice, device_id!("B"), Some(&"x".repeat(513)))
        .await;
    assert!(matches!(long, Err(DeviceError::DisplayName)));

    let chosen: Vec<OwnedDeviceId> = vec!["A".into(), "B".into(), "X".into()];
    users.delete_devices(&alice, &chosen).await.unwrap();
    let left = users.devices(&alice).await.unwrap();
    assert_eq!(
        left.iter()
            .map(|d| d.device_id.as_str())
            .collect::<Vec<_>>(),
        ["C"]
    );
    assert!(server.authenticate(&started[0]).await.is_none());
    assert!(server.authenticate(&started[2]).await.is_some());
}

#[tokio::test]
async fn device_ids_have_bounds_and_nobody_has_no_session() {
    let server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    for id in ["", &"x".repeat(256)] {
        let refused = server
            .users()
            .start_session(vouched(&alice, Some(id), false))
            .await;
        assert!(matches!(refused, Err(StartSessionError::DeviceId)));
    }
    let nobody = ruma::user_id!("@nobody:hanse.test");
    assert!(
        server
            .users()
            .start_session(vouched(nobody, None, false))
            .await
            .is_err()
    );
}

/// More sessions than fit one batch.
#[tokio::test]
async fn two_hundred_sessions_end_together() {
    let server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    let mut started = Vec::new();
    for _ in 0..200 {
        started.push(server.log_in(&alice, None).await);
    }
    server.users().logout_all(&alice).await.unwrap();
    for started in &started {
        assert!(server.authenticate(started).await.is_none());
    }
}
