//! Refresh tokens: each used once, unless the answer was lost.

use std::time::Duration;

use hanse_user::{AuthenticateError, RefreshError, StartedSession};

use crate::server::Server;

fn refresh_token(started: &StartedSession) -> &str {
    started.tokens.refresh_token.as_deref().unwrap()
}

async fn refreshed(server: &Server, started: &StartedSession) -> Option<StartedSession> {
    match server.users().refresh(refresh_token(started)).await {
        Ok(refreshed) => Some(refreshed),
        Err(RefreshError::Unknown) => None,
        Err(other) => panic!("{other}"),
    }
}

async fn a_session() -> (Server, StartedSession) {
    let server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    let started = server.log_in_refreshing(&alice).await;
    (server, started)
}

#[tokio::test]
async fn an_expired_token_is_told_from_an_unknown_one() {
    let (mut server, started) = a_session().await;
    let access_token = &started.tokens.access_token;
    let ttl = started.tokens.expires_in.unwrap();
    server.pass(ttl.saturating_sub(Duration::from_millis(1)));
    assert!(server.authenticate(&started).await.is_some());
    server.pass(Duration::from_millis(1));
    for restarted in [false, true] {
        if restarted {
            server.pass(Duration::from_secs(1_000_000));
            server.crash_and_restart().await;
        }
        let expired = server.users().authenticate(access_token).await;
        assert!(matches!(expired, Err(AuthenticateError::Expired)));
    }
    let next = refreshed(&server, &started).await.unwrap();
    assert_eq!(next.device_id, started.device_id);
    assert!(server.authenticate(&next).await.is_some());
    let void = server.users().authenticate(access_token).await;
    assert!(matches!(void, Err(AuthenticateError::Unknown)));
}

/// Sabotage: void the former pair in `refresh`, or not at all.
#[tokio::test]
async fn a_pair_is_valid_until_its_successors_access_token_is_used() {
    let (mut server, first) = a_session().await;
    let second = refreshed(&server, &first).await.unwrap();
    assert!(server.authenticate(&first).await.is_some());
    server.crash_and_restart().await;
    assert!(server.authenticate(&first).await.is_some());

    assert!(server.authenticate(&second).await.is_some());
    assert!(server.authenticate(&first).await.is_none());
    assert!(refreshed(&server, &first).await.is_none());
    server.crash_and_restart().await;
    assert!(server.authenticate(&first).await.is_none());
    assert!(server.authenticate(&second).await.is_some());
}

#[tokio::test]
async fn a_pair_is_valid_until_its_successors_refresh_token_is_used() {
    let (server, first) = a_session().await;
    let second = refreshed(&server, &first).await.unwrap();
    let third = refreshed(&server, &second).await.unwrap();
    assert!(refreshed(&server, &first).await.is_none());
    assert!(server.authenticate(&first).await.is_none());
    assert!(server.authenticate(&second).await.is_some());
    assert!(server.authenticate(&third).await.is_some());
    assert!(server.authenticate(&second).await.is_none());
}

#[tokio::test]
async fn a_lost_answer_can_be_asked_for_again_and_is_void_then() {
    let (server, first) = a_session().await;
    let lost = refreshed(&server, &first).await.unwrap();
    let second = refreshed(&server, &first).await.unwrap();
    assert!(server.authenticate(&lost).await.is_none());
    assert!(refreshed(&server, &lost).await.is_none());
    assert!(server.authenticate(&second).await.is_some());
    assert!(refreshed(&server, &first).await.is_none());
}

/// Sabotage: let a pending token in without asking its session's row.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_16_refreshes_at_once_one_pair_is_left() {
    let (server, first) = a_session().await;
    let token = refresh_token(&first).to_owned();
    let results = server.at_once(16, |users, _| {
        let token = token.clone();
        async move { users.refresh(&token).await.unwrap() }
    });
    let mut valid = 0;
    for started in results.await {
        valid += usize::from(server.authenticate(&started).await.is_some());
    }
    assert_eq!(valid, 1);
    assert!(refreshed(&server, &first).await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_token_first_used_by_16_at_once_lets_all_of_them_in() {
    let (server, first) = a_session().await;
    let second = refreshed(&server, &first).await.unwrap();
    let token = second.tokens.access_token.clone();
    let results = server.at_once(16, |users, _| {
        let token = token.clone();
        async move { users.authenticate(&token).await }
    });
    assert!(results.await.iter().all(Result::is_ok));
    assert!(server.authenticate(&first).await.is_none());
}

#[tokio::test]
async fn a_logout_between_refresh_and_use_voids_both_pairs() {
    let (server, first) = a_session().await;
    let session = server.authenticate(&first).await.unwrap();
    let second = refreshed(&server, &first).await.unwrap();
    server.users().logout(&session).await.unwrap();
    for started in [&first, &second] {
        assert!(server.authenticate(started).await.is_none());
        assert!(refreshed(&server, started).await.is_none());
    }
    assert!(!server.wrote(refresh_token(&first)));
}
