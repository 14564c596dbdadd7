//! Tokens for a short while.

use std::time::Duration;

use hanse_user::{NewSession, Proof, StartSessionError};

use crate::server::{Server, vouched};

/// Sabotage: do not look whether the token was spent.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_login_token_logs_in_one_of_16_once() {
    let mut server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    let token = server
        .users()
        .create_login_token(&alice)
        .await
        .unwrap()
        .token;
    let session = NewSession {
        proof: Proof::LoginToken(token.clone()),
        ..vouched(&alice, None, false)
    };
    let results = server.at_once(16, |users, _| {
        let session = session.clone();
        async move { users.start_session(session).await }
    });
    let started: Vec<_> = results.await.into_iter().filter_map(Result::ok).collect();
    assert_eq!(started.len(), 1);
    assert_eq!(started[0].user_id, alice);
    server.crash_and_restart().await;
    let again = server.users().start_session(session).await;
    assert!(matches!(again, Err(StartSessionError::Refused)));
    assert!(!server.wrote(&token));
}

#[tokio::test]
async fn a_login_token_expires() {
    let server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    let made = server.users().create_login_token(&alice).await.unwrap();
    server.pass(made.expires_in);
    for token in [made.token, "hsl_guess".to_owned(), String::new()] {
        let proof = Proof::LoginToken(token);
        let late = NewSession {
            proof,
            ..vouched(&alice, None, false)
        };
        let refused = server.users().start_session(late).await;
        assert!(matches!(refused, Err(StartSessionError::Refused)));
    }
}

#[tokio::test]
async fn an_openid_token_names_its_user_until_it_expires() {
    let mut server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    let made = server.users().create_openid_token(&alice).await.unwrap();
    server.crash_and_restart().await;
    assert_eq!(
        server.users().openid_user(&made.token).await.unwrap(),
        Some(alice)
    );
    assert!(server.users().authenticate(&made.token).await.is_err());
    assert!(!server.wrote(&made.token));
    server.pass(made.expires_in + Duration::from_millis(1));
    assert_eq!(server.users().openid_user(&made.token).await.unwrap(), None);
}
