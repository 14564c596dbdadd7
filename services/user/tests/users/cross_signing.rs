//! Cross-signing keys.

use hanse_user::{CrossSigningKeys, KeysUpload, SignedKey, UploadCrossSigningError, UserKeys};
use ruma::{
    CanonicalJsonObject, UserId, device_id,
    encryption::KeyUsage,
    serde::{Base64, Raw, base64::Standard},
    signatures::{Ed25519KeyPair, sign_json},
};
use serde_json::{Value, json};

use crate::server::Server;

fn master(user_id: &UserId, seed: u8) -> CrossSigningKeys {
    let public = Base64::<Standard, _>::new([seed; 32]).encode();
    let key = json!({
        "user_id": user_id, "usage": [KeyUsage::Master],
        "keys": { format!("ed25519:{public}"): public },
    });
    CrossSigningKeys {
        master: Some(Raw::new(&key).unwrap().cast_unchecked()),
        ..CrossSigningKeys::default()
    }
}

/// Sabotage: decide outside of the user's turn whether these are the first keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_16_first_keys_is_the_first() {
    let server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    let uploads = server.at_once(16, |users, at| {
        let alice = alice.clone();
        async move {
            let keys = master(&alice, u8::try_from(at).unwrap());
            users.upload_cross_signing(&alice, &keys, false).await
        }
    });
    let (mut taken, mut refused) = (0, 0);
    for upload in uploads.await {
        match upload {
            Ok(()) => taken += 1,
            Err(UploadCrossSigningError::Unauthenticated) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((taken, refused), (1, 15));
    let keys = server.users().keys_of(&alice, &[], &alice).await.unwrap();
    assert!(keys.master.is_some());
}

struct Signer {
    pair: Ed25519KeyPair,
    public: String,
}

impl Signer {
    fn new() -> Self {
        let named = |document: &[u8], name| Ed25519KeyPair::from_der(document, name).unwrap();
        let document = Ed25519KeyPair::generate();
        let public = named(&document, String::new()).public_key();
        let public = Base64::<Standard, _>::new(public).encode();
        let pair = named(&document, public.clone());
        Self { pair, public }
    }

    fn key(&self, user_id: &UserId, usage: &str) -> Value {
        json!({
            "user_id": user_id, "usage": [usage],
            "keys": { format!("ed25519:{}", self.public): self.public },
        })
    }

    fn sign(&self, user_id: &UserId, object: Value) -> Value {
        let mut object: CanonicalJsonObject = serde_json::from_value(object).unwrap();
        sign_json(user_id.as_str(), &self.pair, &mut object).unwrap();
        serde_json::to_value(&object).unwrap()
    }
}

fn raw<T>(value: &Value) -> Raw<T> {
    Raw::new(value).unwrap().cast_unchecked()
}

/// The ids of the keys of the user that signed the device.
fn signed_by(keys: &UserKeys, user_id: &UserId) -> Vec<String> {
    let device = keys.device_keys.get(device_id!("D")).unwrap();
    let device: Value = device.deserialize_as_unchecked().unwrap();
    let pointer = format!("/signatures/{user_id}");
    let signatures = device.pointer(&pointer).and_then(Value::as_object);
    signatures
        .into_iter()
        .flatten()
        .map(|(id, _)| id.clone())
        .collect()
}

/// Sabotage: leave out `remove_signatures_of_device`.
#[tokio::test]
async fn a_device_takes_what_was_signed_of_it_along() {
    let server = Server::start().await;
    let users = server.users();
    let alice = server.register("alice").await.user_id;
    let (master, self_signing) = (Signer::new(), Signer::new());
    let keys = CrossSigningKeys {
        master: Some(raw(&master.key(&alice, "master"))),
        self_signing: Some(raw(
            &master.sign(&alice, self_signing.key(&alice, "self_signing"))
        )),
        user_signing: None,
    };
    users
        .upload_cross_signing(&alice, &keys, false)
        .await
        .unwrap();
    let device = json!({
        "user_id": alice, "device_id": "D", "algorithms": ["m.olm"],
        "keys": { "ed25519:D": "k" }, "signatures": {},
    });
    let published = async || {
        server.log_in(&alice, Some("D")).await;
        let upload = KeysUpload {
            device_keys: Some(raw(&device)),
            ..KeysUpload::default()
        };
        users
            .upload_keys(&alice, device_id!("D"), &upload)
            .await
            .unwrap();
    };
    published().await;
    let signed = SignedKey {
        user_id: alice.clone(),
        key_id: "D".to_owned(),
        json: self_signing.sign(&alice, device.clone()).to_string(),
    };
    assert!(
        users
            .sign_keys(&alice, vec![signed])
            .await
            .unwrap()
            .is_empty()
    );
    let found = users.keys_of(&alice, &[], &alice).await.unwrap();
    assert_eq!(
        signed_by(&found, &alice),
        [format!("ed25519:{}", self_signing.public)]
    );
    let device_ids = [device_id!("D").to_owned()];
    users.delete_devices(&alice, &device_ids).await.unwrap();
    published().await;
    let found = users.keys_of(&alice, &[], &alice).await.unwrap();
    assert_eq!(signed_by(&found, &alice), Vec::<String>::new());
}
