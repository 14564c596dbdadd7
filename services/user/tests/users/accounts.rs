//! Accounts: one name for one, passwords, the end.

use hanse_runtime::PoolError;
use hanse_user::{
    ChangePasswordError, NewRegistrationToken, NewSession, PasswordRefused, Proof, RegisterError,
    Registration, RegistrationTokenError, StartSessionError, Unavailable, VerifyError,
};
use ruma::{UserId, device_id, user_id};

use crate::server::{PASSWORD, Server, vouched};

#[tokio::test]
async fn an_account_survives_a_crash() {
    let mut server = Server::start().await;
    let made = server.register("Alice").await;
    assert_eq!(made.user_id, "@alice:hanse.test");
    server.crash_and_restart().await;

    let users = server.users();
    assert_eq!(
        users.account(&made.user_id).await.unwrap(),
        Some(made.clone())
    );
    assert!(users.verify_password(&made.user_id, PASSWORD).await.is_ok());
    assert!(!server.wrote(PASSWORD));
    let again = Registration {
        localpart: Some("alice".to_owned()),
        ..Registration::default()
    };
    assert!(matches!(
        users.register(again).await,
        Err(RegisterError::Taken)
    ));
}

/// Sabotage: register without the user's turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_32_who_want_a_name_one_gets_it() {
    let server = Server::start().await;
    let results = server.at_once(32, |users, at| async move {
        let registration = Registration {
            localpart: Some("alice".to_owned()),
            password: Some(format!("password {at}")),
            ..Registration::default()
        };
        users.register(registration).await
    });
    let results = results.await;
    let taken = results
        .iter()
        .filter(|r| matches!(r, Err(RegisterError::Taken)))
        .count();
    assert_eq!(taken, 31, "{results:?}");
    let winner = results.iter().position(Result::is_ok).unwrap();
    let alice = user_id!("@alice:hanse.test");
    for at in 0..32 {
        let right = server
            .users()
            .verify_password(alice, &format!("password {at}"))
            .await;
        assert_eq!(right.is_ok(), at == winner);
    }
}

#[tokio::test]
async fn localparts_follow_the_grammar() {
    let server = Server::start().await;
    let good = ["a", "a.b_c=d-e/f+0", "ALICE", &"x".repeat(243)];
    for localpart in good {
        let available = server.users().available(localpart).await;
        assert!(available.is_ok(), "{localpart}: {available:?}");
    }
    let bad = [
        "",
        " ",
        "a b",
        "ä",
        "a:b",
        "@a",
        "@a:hanse.test",
        "a\u{0}",
        &"x".repeat(244),
    ];
    for localpart in bad {
        let refused = server.users().available(localpart).await;
        assert!(
            matches!(refused, Err(RegisterError::Localpart(_))),
            "{localpart}: {refused:?}"
        );
    }
    let generated = server
        .users()
        .register(Registration::default())
        .await
        .unwrap();
    assert!(generated.user_id.validate_strict().is_ok());
    assert!(!generated.has_password);
}

#[tokio::test]
async fn passwords_have_bounds() {
    let server = Server::start().await;
    for (password, good) in [
        ("1234567", false),
        ("12345678", true),
        (&"x".repeat(513), false),
    ] {
        let registration = Registration {
            password: Some(password.to_owned()),
            ..Registration::default()
        };
        let made = server.users().register(registration).await;
        assert_eq!(made.is_ok(), good, "{made:?}");
    }
    let alice = server.register("alice").await.user_id;
    let changed = server
        .users()
        .change_password(&alice, "short", false, None)
        .await;
    assert!(matches!(
        changed,
        Err(ChangePasswordError::Password(
            PasswordRefused::TooShort { .. }
        ))
    ));
}

#[tokio::test]
async fn nobody_learns_whether_a_name_exists() {
    let server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    let users = server.users();
    for (user_id, password) in [
        (&*alice, "wrong"),
        (user_id!("@nobody:hanse.test"), PASSWORD),
    ] {
        let refused = users.verify_password(user_id, password).await;
        assert!(matches!(refused, Err(VerifyError::Refused)));
    }
}

/// An unknown name costs a hash, too: it waits in the same bounded queue.
#[tokio::test]
async fn hashing_is_bounded_for_unknown_names_too() {
    let server = Server::start_with(|config| config.argon2_memory_kib = 8_192).await;
    let nobody: &UserId = user_id!("@nobody:hanse.test");
    let results = server.at_once(120, |users, _| async move {
        users.verify_password(nobody, PASSWORD).await
    });
    let full = |result: &Result<_, VerifyError>| {
        let Err(VerifyError::Unavailable(Unavailable::Pool(error))) = result else {
            return false;
        };
        matches!(error, PoolError::Full { .. })
    };
    let results = results.await;
    assert!(results.iter().any(full));
    assert!(
        results
            .iter()
            .any(|result| matches!(result, Err(VerifyError::Refused)))
    );
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions_and_logins_under_way() {
    let server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    let kept = server.log_in(&alice, Some("KEPT")).await;
    let other = server.log_in(&alice, Some("OTHER")).await;
    assert!(server.authenticate(&kept).await.is_some());
    assert!(server.authenticate(&other).await.is_some());
    let users = server.users();
    let old = users.verify_password(&alice, PASSWORD).await.unwrap();

    let keep = Some(device_id!("KEPT"));
    users
        .change_password(&alice, "a new password", true, keep)
        .await
        .unwrap();

    assert!(server.authenticate(&kept).await.is_some());
    assert!(server.authenticate(&other).await.is_none());
    let under_way = NewSession {
        proof: Proof::Password(old),
        ..vouched(&alice, None, false)
    };
    let refused = users.start_session(under_way).await;
    assert!(matches!(refused, Err(StartSessionError::Refused)));
    assert!(users.verify_password(&alice, PASSWORD).await.is_err());
    let new = users
        .verify_password(&alice, "a new password")
        .await
        .unwrap();
    let session = NewSession {
        proof: Proof::Password(new),
        ..vouched(&alice, None, false)
    };
    assert!(users.start_session(session).await.is_ok());
}

/// Sabotage: leave out the account's check in `start_session`, or in `authenticate`.
#[tokio::test]
async fn ghsa_26c5_ppr8_f33p_a_deactivated_user_gets_in_nowhere() {
    let mut server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    let started = server.log_in_refreshing(&alice).await;
    assert!(server.authenticate(&started).await.is_some());
    let proof = server
        .users()
        .verify_password(&alice, PASSWORD)
        .await
        .unwrap();
    let login = server
        .users()
        .create_login_token(&alice)
        .await
        .unwrap()
        .token;
    let openid = server
        .users()
        .create_openid_token(&alice)
        .await
        .unwrap()
        .token;

    server.users().deactivate(&alice, true).await.unwrap();
    for restarted in [false, true] {
        if restarted {
            server.crash_and_restart().await;
        }
        let users = server.users();
        assert!(server.authenticate(&started).await.is_none());
        let refresh = started.tokens.refresh_token.as_deref().unwrap();
        assert!(users.refresh(refresh).await.is_err());
        let right = users.verify_password(&alice, PASSWORD).await;
        assert!(matches!(right, Err(VerifyError::Deactivated)));
        for proof in [
            Proof::Password(proof.clone()),
            Proof::LoginToken(login.clone()),
            Proof::Vouched(alice.clone()),
        ] {
            let refused = users.start_session(NewSession {
                proof,
                ..vouched(&alice, None, false)
            });
            assert!(matches!(refused.await, Err(StartSessionError::Deactivated)));
        }
        assert!(users.create_login_token(&alice).await.is_err());
        assert_eq!(users.openid_user(&openid).await.unwrap(), None);
        assert!(users.devices(&alice).await.unwrap().is_empty());
        assert!(matches!(
            users.available("alice").await,
            Err(RegisterError::Taken)
        ));
        let account = users.account(&alice).await.unwrap().unwrap();
        assert!(account.deactivated && account.erased && !account.has_password);
    }
}

#[tokio::test]
async fn an_admin_is_made_and_unmade_at_once() {
    let server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    let started = server.log_in(&alice, None).await;
    for admin in [false, true, false] {
        server.users().set_admin(&alice, admin).await.unwrap();
        assert_eq!(server.authenticate(&started).await.unwrap().admin, admin);
        assert_eq!(server.users().is_admin(&alice).await.unwrap(), admin);
    }
}

fn with_token(localpart: String, token: &str) -> Registration {
    Registration {
        localpart: Some(localpart),
        registration_token: Some(token.to_owned()),
        ..Registration::default()
    }
}

/// Sabotage: spend the token without its name's turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_token_for_three_lets_three_of_sixteen_register() {
    let mut server = Server::start().await;
    let new = NewRegistrationToken {
        token: Some("three".to_owned()),
        uses_allowed: 3.try_into().ok(),
        expires_at_ms: None,
    };
    server
        .users()
        .create_registration_token(new.clone())
        .await
        .unwrap();
    let twice = server.users().create_registration_token(new).await;
    assert!(matches!(twice, Err(RegistrationTokenError::Taken)));
    let results = server.at_once(16, |users, at| async move {
        users
            .register(with_token(format!("user{at}"), "three"))
            .await
    });
    let results = results.await;
    assert_eq!(
        results.iter().filter(|result| result.is_ok()).count(),
        3,
        "{results:?}"
    );
    assert!(
        !server
            .users()
            .registration_token_valid("three")
            .await
            .unwrap()
    );

    server.crash_and_restart().await;
    let users = server.users();
    assert_eq!(
        users
            .registration_tokens()
            .await
            .unwrap()
            .first()
            .unwrap()
            .uses,
        3
    );
    let late = users.register(with_token("late".to_owned(), "three")).await;
    assert!(matches!(
        late,
        Err(RegisterError::Token(RegistrationTokenError::Refused))
    ));
    assert!(users.available("late").await.is_ok());
}

#[tokio::test]
async fn a_taken_name_spends_no_token_and_an_expired_token_allows_none() {
    let server = Server::start().await;
    server.register("alice").await;
    let users = server.users();
    let new = NewRegistrationToken {
        token: Some("once".to_owned()),
        uses_allowed: 1.try_into().ok(),
        expires_at_ms: Some(1_700_000_060_000),
    };
    users.create_registration_token(new).await.unwrap();
    let taken = users.register(with_token("alice".to_owned(), "once")).await;
    assert!(matches!(taken, Err(RegisterError::Taken)));
    assert!(users.registration_token_valid("once").await.unwrap());
    server.pass(std::time::Duration::from_mins(1));
    let expired = users.register(with_token("bob".to_owned(), "once")).await;
    assert!(matches!(expired, Err(RegisterError::Token(_))));
    users.remove_registration_token("once").await.unwrap();
    assert!(users.registration_tokens().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_first_token_stays_the_same() {
    let mut server = Server::start().await;
    let token = server.users().ensure_first_token().await.unwrap();
    server.crash_and_restart().await;
    assert_eq!(server.users().ensure_first_token().await.unwrap(), token);
    server
        .users()
        .register(with_token("alice".to_owned(), &token))
        .await
        .unwrap();
    server
        .users()
        .register(with_token("bob".to_owned(), &token))
        .await
        .expect_err("the first token is good for one account");
}
