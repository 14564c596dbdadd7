//! Sessions whose tokens are remembered in one process and made void by another.

use std::time::Duration;

use hanse_user::{AuthenticateError, NewSession, Proof, StartSessionError, StartedSession, Users};
use ruma::{OwnedUserId, UserId};

use crate::{
    users::{PASSWORD, log_in, registration, vouched},
    world::{Process, World, drain, eventually},
};

impl Process {
    async fn register(&self, localpart: &str) -> OwnedUserId {
        let registration = registration(localpart);
        let made = self.user(|users| async move { users.register(registration).await });
        made.await.unwrap().user_id
    }

    async fn starts(&self, user_id: &UserId, device: &str) -> StartedSession {
        let (user_id, device) = (user_id.to_owned(), device.to_owned());
        self.user(|users| async move { log_in(&users, &user_id, &device).await })
            .await
    }

    async fn lets_in(&self, token: &str) -> bool {
        let token = token.to_owned();
        let session = self.user(|users| async move { users.authenticate(&token).await });
        match session.await {
            Ok(_) => true,
            Err(AuthenticateError::Unknown) => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// Logs out, and fails if the token lets in at the next moment: nothing else runs in between.
    async fn log_out(&self, token: &str) {
        let token = token.to_owned();
        self.user(|users| async move {
            let session = users.authenticate(&token).await.unwrap();
            users.logout(&session).await.unwrap();
            let again = users.authenticate(&token).await;
            assert!(
                matches!(again, Err(AuthenticateError::Unknown)),
                "{again:?}"
            );
        })
        .await;
    }
}

/// Red if a process goes on letting in whom it has just logged out at another, or if the others do
/// once they can have heard of it. The bus is dead: nobody hears of it by chance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_void_here_before_its_logout_elsewhere_is_answered() {
    let world = World::new();
    let [a, b, c] = world.processes().await;
    let alice = a.register(&b.localpart("alice")).await;
    world.cut_the_bus();
    for round in 0..5 {
        let started = a.starts(&alice, &format!("D{round}")).await;
        let token = started.tokens.access_token;
        for process in [&a, &b, &c] {
            assert!(process.lets_in(&token).await, "remembered");
        }
        a.log_out(&token).await;
        assert!(!a.lets_in(&token).await, "where it was logged out");
        assert!(!b.lets_in(&token).await, "where it was decided");
    }
    let started = a.starts(&alice, "LAST").await;
    let token = started.tokens.access_token;
    assert!(c.lets_in(&token).await);
    a.log_out(&token).await;
    let took = eventually("the third does not let in", async || {
        !c.lets_in(&token).await
    })
    .await;
    println!("a third process let in for another {took:?}");
    assert!(took < Duration::from_secs(4), "heads are polled");
    drain([a, b, c]).await;
}

/// Red if what voids tokens but a logout is not felt where it was asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_voids_a_token_elsewhere_is_felt_here() {
    let world = World::new();
    let [a, b] = world.processes().await;
    let alice = a.register(&b.localpart("alice")).await;
    world.cut_the_bus();
    let remembered = async |device: &str| {
        let token = a.starts(&alice, device).await.tokens.access_token;
        assert!(a.lets_in(&token).await);
        token
    };
    let token = remembered("D").await;
    let again = remembered("D").await;
    assert!(!a.lets_in(&token).await, "a new login on the device");

    let (other, user_id) = (remembered("E").await, alice.clone());
    a.user(|users| async move {
        let keep = Some("E".into());
        let changed = users.change_password(&user_id, "another horse", true, keep);
        changed.await.unwrap();
    })
    .await;
    assert!(a.lets_in(&other).await && !a.lets_in(&again).await);

    let user_id = alice.clone();
    a.user(|users| async move { users.delete_devices(&user_id, &["E".into()]).await.unwrap() })
        .await;
    assert!(!a.lets_in(&other).await);

    let (last, user_id) = (remembered("F").await, alice.clone());
    a.user(|users| async move { users.deactivate(&user_id, false).await.unwrap() })
        .await;
    assert!(!a.lets_in(&last).await);
    drain([a, b]).await;
}

/// Red if a refreshed pair is not confirmed, or the one before stays, when another process decides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_refreshed_at_its_owner() {
    let world = World::new();
    let [a, b] = world.processes().await;
    let alice = a.register(&b.localpart("alice")).await;
    let new = NewSession {
        refresh: true,
        ..vouched(&alice, "D")
    };
    a.user(|users| async move {
        let first = users.start_session(new).await.unwrap().tokens;
        users.authenticate(&first.access_token).await.unwrap();
        let refresh_token = first.refresh_token.unwrap();
        let lost = users.refresh(&refresh_token).await.unwrap().tokens;
        let next = users.refresh(&refresh_token).await.unwrap().tokens;
        users.authenticate(&first.access_token).await.unwrap();
        users.authenticate(&next.access_token).await.unwrap();
        for void in [first.access_token, lost.access_token] {
            let void = users.authenticate(&void).await;
            assert!(matches!(void, Err(AuthenticateError::Unknown)));
        }
        assert!(users.refresh(&refresh_token).await.is_err());
    })
    .await;
    drain([a, b]).await;
}

async fn try_start(
    process: &Process,
    new: NewSession,
) -> Result<StartedSession, StartSessionError> {
    let starting = |users: Users| async move { users.start_session(new).await };
    process.user(starting).await
}

/// Red if a proof is not checked by whoever decides: a login token lets in twice, or a password that
/// was changed meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_counts_once_wherever_it_is_shown() {
    let world = World::new();
    let [a, b, c] = world.processes().await;
    let alice = a.register(&b.localpart("alice")).await;
    let user_id = alice.clone();
    let made = a.user(|users| async move { users.create_login_token(&user_id).await });
    let token = made.await.unwrap().token;
    let with = |proof: Proof| NewSession {
        proof,
        device_id: None,
        initial_display_name: None,
        refresh: false,
    };
    let shown = || with(Proof::LoginToken(token.clone()));
    let (one, two) = tokio::join!(try_start(&a, shown()), try_start(&c, shown()));
    assert_eq!(
        [&one, &two]
            .iter()
            .filter(|started| started.is_ok())
            .count(),
        1
    );
    let refused = [one, two].into_iter().find_map(Result::err).unwrap();
    assert!(matches!(refused, StartSessionError::Refused));

    let user_id = alice.clone();
    let verified = a.user(|users| async move { users.verify_password(&user_id, PASSWORD).await });
    let verified = verified.await.unwrap();
    c.user(|users| async move {
        let changed = users.change_password(&alice, "another horse", false, None);
        changed.await.unwrap();
    })
    .await;
    let late = try_start(&a, with(Proof::Password(verified))).await;
    assert!(matches!(late, Err(StartSessionError::Refused)));
    drain([a, b, c]).await;
}
