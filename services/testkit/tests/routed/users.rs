//! Users and names that another process serves.

use std::{collections::BTreeMap, num::NonZeroU32};

use hanse_log::Position;
use hanse_user::{
    Account, AccountError, CreateAliasError, DeviceError, KeysUpload, NewRegistrationToken,
    NewSession, ProfileError, Proof, PutAccountDataError, RegisterError, Registration,
    RegistrationTokenError, RemoveAliasError, SendToDeviceError, StartSessionError, StartedSession,
    ToDeviceMessages, ToDevicePage, UploadKeysError, Users, VerifyError,
};
use ruma::{
    DeviceId, OneTimeKeyAlgorithm, OwnedRoomAliasId, OwnedUserId, UserId,
    api::client::filter::FilterDefinition, device_id, profile::ProfileFieldName,
    profile::ProfileFieldValue, room_id, serde::Raw, to_device::DeviceIdOrAllDevices,
};
use serde_json::{json, value::RawValue};

use crate::world::{PATIENCE, Process, World, drain, now, user};

pub(crate) const PASSWORD: &str = "correct horse";

pub(crate) fn registration(localpart: &str) -> Registration {
    Registration {
        localpart: Some(localpart.to_owned()),
        password: Some(PASSWORD.to_owned()),
        ..Registration::default()
    }
}

pub(crate) async fn log_in(users: &Users, user_id: &UserId, device: &str) -> StartedSession {
    let started = users.start_session(vouched(user_id, device)).await;
    started.unwrap()
}

pub(crate) fn vouched(user_id: &UserId, device: &str) -> NewSession {
    NewSession {
        proof: Proof::Vouched(user_id.to_owned()),
        device_id: Some(device.into()),
        initial_display_name: Some("phone".to_owned()),
        refresh: false,
    }
}

/// Red if any write of a user or a name is decided where its slot is not served, or gives another
/// answer from there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_write_gives_the_same_answer_elsewhere() {
    let world = World::new();
    let [a, b] = world.processes().await;
    for (round, caller, owner) in [("x", &a, &a), ("y", &a, &b), ("z", &b, &a)] {
        let (alice, bob) = (owner.localpart(&format!("alice{round}")), {
            // The other's slot is the other process's: relays cross, too.
            let other = if owner.id == a.id { &b } else { &a };
            other.localpart(&format!("bob{round}"))
        });
        let token = owner.name(|at| format!("token-{round}-{at}"));
        let alias = owner.name(|at| format!("#alias-{round}-{at}:hanse.test"));
        caller
            .user(|users| async move {
                let alice = accounts(&users, &alice).await;
                let bob = users.register(registration(&bob)).await.unwrap().user_id;
                devices(&users, &alice).await;
                data(&users, &alice).await;
                keys(&users, &alice).await;
                to_devices(&users, &alice, &bob).await;
                to_devices(&users, &bob, &alice).await;
                names(&users, &token, &alias, &alice).await;
                ends(&users, &alice).await;
            })
            .await;
    }
    drain([a, b]).await;
}

async fn accounts(users: &Users, localpart: &str) -> OwnedUserId {
    let account = users.register(registration(localpart)).await.unwrap();
    assert!(account.has_password && !account.admin);
    let alice = account.user_id;
    assert_eq!(
        users.account(&alice).await.unwrap().unwrap().position,
        account.position
    );
    let taken = users.register(registration(localpart)).await;
    assert!(matches!(taken, Err(RegisterError::Taken)));
    let admin = users.set_admin(&alice, true).await.unwrap();
    assert!(admin.admin && users.is_admin(&alice).await.unwrap());
    let nobody = users.set_admin(&user("nobody-of-this-name"), true).await;
    assert!(matches!(nobody, Err(AccountError::Unknown)));
    let changed = users.change_password(&alice, "another horse", false, None);
    changed.await.unwrap();
    let old = users.verify_password(&alice, PASSWORD).await;
    assert!(matches!(old, Err(VerifyError::Refused)));
    users
        .verify_password(&alice, "another horse")
        .await
        .unwrap();
    alice
}

async fn devices(users: &Users, alice: &UserId) {
    let device = device_id!("D");
    log_in(users, alice, "D").await;
    let shown = users.device(alice, device).await.unwrap().unwrap();
    assert_eq!(shown.display_name.as_deref(), Some("phone"));
    let renamed = users.rename_device(alice, device, Some("laptop"));
    renamed.await.unwrap();
    let shown = users.device(alice, device).await.unwrap().unwrap();
    assert_eq!(shown.display_name.as_deref(), Some("laptop"));
    let unknown = users.rename_device(alice, device_id!("NONE"), None).await;
    assert!(matches!(unknown, Err(DeviceError::Unknown)));
}

async fn data(users: &Users, alice: &UserId) {
    let name = |name: &str| ProfileFieldValue::DisplayName(name.to_owned());
    let changed = users
        .set_profile_field(alice, &name("Alice"))
        .await
        .unwrap();
    assert_eq!(
        (changed.previous, changed.current),
        (None, Some(json!("Alice")))
    );
    let position = changed.position.unwrap();
    let same = users
        .set_profile_field(alice, &name("Alice"))
        .await
        .unwrap();
    assert_eq!((same.previous, same.position), (Some(json!("Alice")), None));
    let removed = users.remove_profile_field(alice, &ProfileFieldName::DisplayName);
    let removed = removed.await.unwrap();
    assert_eq!(
        (removed.previous, removed.current),
        (Some(json!("Alice")), None)
    );
    assert!(removed.position.unwrap() > position);
    let nobody = user("nobody-of-this-name");
    let nobody = users.set_profile_field(&nobody, &name("N")).await;
    assert!(matches!(nobody, Err(ProfileError::Unknown)));

    let content = |n: i64| RawValue::from_string(json!({ "n": n }).to_string()).unwrap();
    let put = users.put_account_data(alice, None, "t", &content(1)).await;
    let put = put.unwrap();
    let datum = users.account_data(alice, None, "t").await.unwrap().unwrap();
    assert_eq!((datum.content.get(), datum.position), (r#"{"n":1}"#, put));
    let room = Some(room_id!("!r:hanse.test"));
    let in_room = users.put_account_data(alice, room, "t", &content(2)).await;
    assert!(in_room.unwrap() > put);
    let nobody = user("nobody-of-this-name");
    let nobody = users
        .put_account_data(&nobody, None, "t", &content(1))
        .await;
    assert!(matches!(nobody, Err(PutAccountDataError::Unknown)));

    let filter: FilterDefinition = serde_json::from_value(json!({ "room": {} })).unwrap();
    let id = users.create_filter(alice, &filter).await.unwrap();
    assert_eq!(users.create_filter(alice, &filter).await.unwrap(), id);
    assert!(users.filter(alice, &id).await.unwrap().is_some());

    let (left, room) = (Position::new(3, 0), room_id!("!left:hanse.test"));
    users.forget_room(alice, room, left).await.unwrap();
    let forgotten = users.forgotten_room(alice, room).await.unwrap().unwrap();
    assert_eq!(forgotten.left_position, left);
}

fn one_time_keys(ids: std::ops::Range<usize>) -> KeysUpload {
    let key = |id: usize| {
        let key = json!({ "key": format!("{id}"), "signatures": { "@a:b": { "ed25519:D": "s" } } });
        (format!("signed_curve25519:{id:04}"), key)
    };
    let keys: BTreeMap<_, _> = ids.map(key).collect();
    KeysUpload {
        one_time_keys: serde_json::from_value(json!(keys)).unwrap(),
        ..KeysUpload::default()
    }
}

async fn keys(users: &Users, alice: &UserId) {
    let (device, signed) = (device_id!("D"), OneTimeKeyAlgorithm::SignedCurve25519);
    let upload = users.upload_keys(alice, device, &one_time_keys(0..3)).await;
    assert_eq!(upload.unwrap()[&signed], 3);
    let wanted = BTreeMap::from([(device.to_owned(), signed.clone())]);
    let mut claimed = Vec::new();
    for _ in 0..4 {
        let keys = users.claim_keys(alice, &wanted).await.unwrap();
        let ids = keys.into_values().flat_map(BTreeMap::into_keys);
        claimed.extend(ids.map(|id| id.to_string()));
    }
    let expected = [0, 1, 2].map(|id| format!("signed_curve25519:{id:04}"));
    assert_eq!(claimed, expected, "each once");
    let (none, some) = (device_id!("NONE"), one_time_keys(0..1));
    let unknown = users.upload_keys(alice, none, &some).await;
    assert!(matches!(unknown, Err(UploadKeysError::UnknownDevice)));
    // More devices than one command has: each gets its key.
    for at in 0..25 {
        let device = format!("K{at}");
        log_in(users, alice, &device).await;
        let device = device.as_str().into();
        users
            .upload_keys(alice, device, &one_time_keys(0..1))
            .await
            .unwrap();
    }
    let wanted: BTreeMap<_, _> = (0..25)
        .map(|at| (format!("K{at}").into(), signed.clone()))
        .collect();
    assert_eq!(users.claim_keys(alice, &wanted).await.unwrap().len(), 25);
}

async fn to_devices(users: &Users, from: &UserId, to: &UserId) {
    log_in(users, to, "R").await;
    let messages = |txn_id: &str, content: serde_json::Value| ToDeviceMessages {
        event_type: "t".to_owned(),
        txn_id: txn_id.to_owned(),
        messages: BTreeMap::from([(
            to.to_owned(),
            BTreeMap::from([(
                DeviceIdOrAllDevices::DeviceId("R".into()),
                Raw::new(&content).unwrap().cast_unchecked(),
            )]),
        )]),
    };
    let sender = (from, device_id!("S"));
    let once = messages("m1", json!({ "n": 1 }));
    for _ in 0..2 {
        users.send_to_device(sender, &once).await.unwrap();
    }
    let receiver = (to, device_id!("R"));
    let begun = now();
    let mut page = waiting(users, receiver).await;
    while page.events.is_empty() && begun.elapsed() < PATIENCE {
        page = waiting(users, receiver).await;
    }
    assert_eq!(page.events.len(), 1, "a repeat sends nothing");
    let last = page.last.unwrap();
    users.remove_to_device(receiver, last).await.unwrap();
    assert!(waiting(users, receiver).await.events.is_empty());
    let large = messages("m2", json!({ "x": "x".repeat(70_000) }));
    let large = users.send_to_device(sender, &large).await;
    assert!(matches!(large, Err(SendToDeviceError::TooLarge { .. })));
}

async fn waiting(users: &Users, device: (&UserId, &DeviceId)) -> ToDevicePage {
    let page = users.to_device(device, Position::START, Position::END);
    page.await.unwrap()
}

async fn names(users: &Users, token: &str, alias: &str, alice: &UserId) {
    let new = || NewRegistrationToken {
        token: Some(token.to_owned()),
        uses_allowed: NonZeroU32::new(1),
        expires_at_ms: None,
    };
    users.create_registration_token(new()).await.unwrap();
    let again = users.create_registration_token(new()).await;
    assert!(matches!(again, Err(RegistrationTokenError::Taken)));
    assert!(users.registration_token_valid(token).await.unwrap());
    users.remove_registration_token(token).await.unwrap();
    let gone = users.remove_registration_token(token).await;
    assert!(matches!(gone, Err(RegistrationTokenError::Refused)));

    let alias = OwnedRoomAliasId::try_from(alias).unwrap();
    let room = room_id!("!aliased:hanse.test");
    let made = users.create_alias(&alias, room, alice).await.unwrap();
    assert_eq!(users.alias(&alias).await.unwrap().as_ref(), Some(&made));
    let again = users.create_alias(&alias, room, alice).await;
    assert!(matches!(again, Err(CreateAliasError::Taken)));
    users.remove_alias(&made).await.unwrap();
    let gone = users.remove_alias(&made).await;
    assert!(matches!(gone, Err(RemoveAliasError::Unknown)));
}

async fn ends(users: &Users, alice: &UserId) {
    users.logout_all(alice).await.unwrap();
    assert!(users.devices(alice).await.unwrap().is_empty());
    users.deactivate(alice, true).await.unwrap();
    let account = users.account(alice).await.unwrap().unwrap();
    assert!(account.deactivated && account.erased);
    let late = users.start_session(vouched(alice, "D")).await;
    assert!(matches!(late, Err(StartSessionError::Deactivated)));
}

async fn register_all(
    process: &Process,
    wishes: Vec<Registration>,
) -> Vec<Result<Account, RegisterError>> {
    let registering = |users: Users| async move {
        let registering = wishes.into_iter().map(|wish| users.register(wish));
        futures::future::join_all(registering).await
    };
    process.user(registering).await
}

/// Red if a token's use is lost or given away because the token and the account are decided by two
/// processes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_spends_its_token_wherever_it_is() {
    let world = World::new();
    let [a, b] = world.processes().await;
    for (round, token_at, user_at) in [("x", &a, &b), ("y", &b, &a), ("z", &b, &b)] {
        let token = token_at.name(|at| format!("three-{round}-{at}"));
        let new = NewRegistrationToken {
            token: Some(token.clone()),
            uses_allowed: NonZeroU32::new(3),
            expires_at_ms: None,
        };
        let made = a.user(|users| async move { users.create_registration_token(new).await });
        made.await.unwrap();
        let prefix = user_at.localpart(&format!("u{round}"));
        let with_token = |localpart: String| Registration {
            registration_token: Some(token.clone()),
            ..registration(&localpart)
        };
        // At both processes at once, and each name twice.
        let wishes: Vec<_> = (0..8)
            .map(|at| with_token(format!("{prefix}-{}", at / 2)))
            .collect();
        let (here, there) =
            tokio::join!(register_all(&a, wishes.clone()), register_all(&b, wishes));
        let results: Vec<_> = here.into_iter().chain(there).collect();
        let made = results.iter().filter(|result| result.is_ok()).count();
        assert!(made <= 3, "{made} accounts");
        for refused in results.iter().filter_map(|result| result.as_ref().err()) {
            assert!(
                matches!(
                    refused,
                    RegisterError::Taken | RegisterError::Token(RegistrationTokenError::Refused)
                ),
                "{refused:?}"
            );
        }
        let tokens = a.users.registration_tokens().await.unwrap();
        let spent = tokens.iter().find(|held| held.token == token).unwrap();
        assert_eq!(spent.uses as usize, made, "as many uses as accounts");
        println!("{made} of 16 registered, {} uses", spent.uses);
    }
    drain([a, b]).await;
}
