//! Dehydrated devices.

use hanse_user::{DehydratedDevice, DehydratedDeviceError, KeysUpload, StartSessionError, Users};
use ruma::{DeviceId, UserId, device_id, serde::Raw};
use serde_json::json;

use crate::server::{Server, vouched};

async fn put(
    users: &Users,
    user_id: &UserId,
    device_id: &DeviceId,
) -> Result<(), DehydratedDeviceError> {
    let data = json!({
        "algorithm": "org.matrix.msc3814.v2", "device_pickle": "p", "nonce": "n",
    });
    let keys = json!({
        "user_id": user_id, "device_id": device_id, "algorithms": ["m.olm"],
        "keys": { format!("ed25519:{device_id}"): "k" }, "signatures": {},
    });
    let device = DehydratedDevice {
        device_id: device_id.to_owned(),
        device_data: Raw::new(&data).unwrap().cast_unchecked(),
    };
    let keys = KeysUpload {
        device_keys: Some(Raw::new(&keys).unwrap().cast_unchecked()),
        ..KeysUpload::default()
    };
    users
        .put_dehydrated_device(user_id, &device, None, &keys)
        .await
}

/// Sabotage: leave out the check in `start_session_here`, or the one for `Taken`.
#[tokio::test]
async fn no_session_is_on_a_dehydrated_device() {
    let server = Server::start().await;
    let users = server.users();
    let alice = server.register("alice").await.user_id;
    server.log_in(&alice, Some("D")).await;
    let taken = put(users, &alice, device_id!("D")).await;
    assert!(
        matches!(taken, Err(DehydratedDeviceError::Taken)),
        "{taken:?}"
    );
    put(users, &alice, device_id!("E")).await.unwrap();
    let login = users.start_session(vouched(&alice, Some("E"), false)).await;
    assert!(
        matches!(login, Err(StartSessionError::Dehydrated)),
        "{login:?}"
    );
    assert!(
        users
            .device(&alice, device_id!("D"))
            .await
            .unwrap()
            .is_some()
    );
}

/// Sabotage: leave the device's record where its device goes (`end_devices`).
#[tokio::test]
async fn a_deleted_device_is_dehydrated_no_more() {
    let server = Server::start().await;
    let users = server.users();
    let alice = server.register("alice").await.user_id;
    put(users, &alice, device_id!("E")).await.unwrap();
    let device_ids = [device_id!("E").to_owned()];
    users.delete_devices(&alice, &device_ids).await.unwrap();
    let gone = users.dehydrated_device(&alice).await;
    assert!(
        matches!(gone, Err(DehydratedDeviceError::Unknown)),
        "{gone:?}"
    );
    users
        .start_session(vouched(&alice, Some("E"), false))
        .await
        .unwrap();
}

/// Of 8 at once one is left, and nothing of the others. Sabotage: decide outside of the user's turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_8_at_once_is_left() {
    let server = Server::start().await;
    let alice = server.register("alice").await.user_id;
    let puts = server.at_once(8, |users, at| {
        let alice = alice.clone();
        async move {
            put(&users, &alice, format!("E{at}").as_str().into())
                .await
                .unwrap();
        }
    });
    puts.await;
    let users = server.users();
    let left = users.dehydrated_device(&alice).await.unwrap().device_id;
    let devices = users.devices(&alice).await.unwrap();
    let devices: Vec<_> = devices.into_iter().map(|device| device.device_id).collect();
    assert_eq!(devices, std::slice::from_ref(&left));
    let keys = users.keys_of(&alice, &[], &alice).await.unwrap();
    assert_eq!(keys.device_keys.into_keys().collect::<Vec<_>>(), [left]);
}
