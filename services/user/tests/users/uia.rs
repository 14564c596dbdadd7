//! Interactive authentication.

use std::time::Duration;

use hanse_user::{CompletedStage, UiaError, UiaScope};
use ruma::{UserId, api::client::uiaa::AuthType, user_id};
use serde_json::{Map, Value, json};

use crate::server::Server;

const REGISTER: &str = "POST /_matrix/client/v3/register";
const DELETE_DEVICES: &str = "POST /_matrix/client/v3/delete_devices";

fn scope(user_id: Option<&UserId>, endpoint: &str) -> UiaScope {
    UiaScope {
        user_id: user_id.map(UserId::to_owned),
        endpoint: endpoint.to_owned(),
    }
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[tokio::test]
async fn stages_add_up_and_survive_a_crash() {
    let mut server = Server::start().await;
    let scope = scope(None, REGISTER);
    let asked = object(&json!({ "username": "alice" }));
    let session = server.users().start_uia(&scope, &asked).await.unwrap();
    let flow = [AuthType::RegistrationToken, AuthType::Dummy];
    let (id, token) = (&session.session_id, Some("first"));
    let users = server.users();
    let after = users
        .complete_uia_stage(&scope, id, &flow[0], token)
        .await
        .unwrap();
    assert!(!after.completes(&flow));
    // A completed stage stays as it is.
    let again = users
        .complete_uia_stage(&scope, id, &flow[0], Some("other"))
        .await
        .unwrap();
    assert_eq!(again, after);
    server.crash_and_restart().await;

    let users = server.users();
    let after = users
        .complete_uia_stage(&scope, id, &flow[1], None)
        .await
        .unwrap();
    assert!(after.completes(&flow));
    let read = users.uia(&scope, id).await.unwrap().unwrap();
    assert_eq!(read.parameters, asked);
    let token = CompletedStage {
        stage: AuthType::RegistrationToken,
        detail: Some("first".to_owned()),
    };
    assert!(read.completed.contains(&token));
    assert_eq!(read.stages().len(), 2);

    server.pass(server.config.uia_ttl);
    assert_eq!(server.users().uia(&scope, id).await.unwrap(), None);
    let late = server
        .users()
        .complete_uia_stage(&scope, id, &AuthType::Terms, None)
        .await;
    assert!(matches!(late, Err(UiaError::Unknown)));
}

/// Sabotage: keep the parameters as they came.
#[tokio::test]
async fn ghsa_4f74_84v3_j9q5_no_password_is_kept_with_a_session() {
    let server = Server::start().await;
    let asked = object(&json!({
        "username": "alice",
        "password": "pass-to-be-kept-nowhere",
        "new_password": "pass-to-be-kept-nowhere",
        "auth": { "type": "m.login.password", "password": "pass-to-be-kept-nowhere" },
    }));
    let session = server
        .users()
        .start_uia(&scope(None, REGISTER), &asked)
        .await
        .unwrap();
    assert_eq!(session.parameters, object(&json!({ "username": "alice" })));
    assert!(
        server.wrote(&session.session_id),
        "the spy sees what is written"
    );
    assert!(!server.wrote("pass-to-be-kept-nowhere"));
}

/// What one request has shown must not count for another: a session of nobody, of another user or
/// of another endpoint is no session (Tuwunel c564d9e2 and its class).
///
/// Sabotage: leave the user or the endpoint out of `uia_row`.
#[tokio::test]
async fn tuwunel_c564d9e2_a_session_counts_for_its_user_and_endpoint_alone() {
    let server = Server::start().await;
    let (alice, bob) = (user_id!("@alice:hanse.test"), user_id!("@bob:hanse.test"));
    let own = scope(Some(alice), DELETE_DEVICES);
    let session = server.users().start_uia(&own, &Map::new()).await.unwrap();
    let id = &session.session_id;
    let stage = AuthType::Password;
    server
        .users()
        .complete_uia_stage(&own, id, &stage, None)
        .await
        .unwrap();
    let others = [
        scope(None, DELETE_DEVICES),
        scope(Some(bob), DELETE_DEVICES),
        scope(Some(alice), REGISTER),
        scope(Some(alice), ""),
    ];
    for other in others {
        assert_eq!(
            server.users().uia(&other, id).await.unwrap(),
            None,
            "{other:?}"
        );
        let refused = server
            .users()
            .complete_uia_stage(&other, id, &stage, None)
            .await;
        assert!(matches!(refused, Err(UiaError::Unknown)));
    }
    for id in ["", "null", &"x".repeat(100_000)] {
        assert_eq!(server.users().uia(&own, id).await.unwrap(), None);
    }
    assert!(server.users().uia(&own, id).await.unwrap().is_some());
}

#[tokio::test]
async fn sessions_have_bounds() {
    let server = Server::start().await;
    let scope = scope(None, REGISTER);
    let large = object(&json!({ "username": "x".repeat(40_000) }));
    let refused = server.users().start_uia(&scope, &large).await;
    assert!(matches!(refused, Err(UiaError::TooLarge { .. })));
    let session = server.users().start_uia(&scope, &Map::new()).await.unwrap();
    let long = "x".repeat(256);
    let refused = server
        .users()
        .complete_uia_stage(&scope, &session.session_id, &AuthType::Dummy, Some(&long))
        .await;
    assert!(matches!(refused, Err(UiaError::Stage)));
    server.pass(Duration::from_secs(1));
}
