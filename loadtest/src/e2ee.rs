//! What end-to-end encryption costs a server: messages to devices, new devices, changed devices.
//!
//! Keys and ciphertexts are made up: a server does not look into them.

mod device_changes;
mod new_device;
mod to_device;

pub use self::{device_changes::DeviceChanges, new_device::NewDevice, to_device::WaitingMessages};
use crate::{Credentials, Refused, User, http::Call};

/// The body of an encrypted room that everybody may join.
const ENCRYPTED_ROOM: &str = r#"{"preset":"public_chat","initial_state":[{"type":"m.room.encryption","state_key":"","content":{"algorithm":"m.megolm.v1.aes-sha2"}}]}"#;
/// One-time keys of a device that has just logged in, as clients make them.
const ONE_TIME_KEYS: usize = 50;
/// What clients ask for.
const FILTER: &str = r#"{"room":{"timeline":{"limit":10},"state":{"lazy_load_members":true}}}"#;

/// `POST /keys/upload` of a new device.
async fn upload_keys(user: &mut User) -> Result<(), Refused> {
    let body = keys_of(user.credentials());
    let call = Call::post("/_matrix/client/v3/keys/upload", body);
    user.ok(call).await.map(drop)
}

fn keys_of(credentials: &Credentials) -> String {
    let Credentials {
        user_id, device_id, ..
    } = credentials;
    let signatures = format!(r#"{{"{user_id}":{{"ed25519:{device_id}":"c2lnbmF0dXJl"}}}}"#);
    let one_time = (0..ONE_TIME_KEYS).map(|number| {
        format!(
            r#""signed_curve25519:AAA{number:03}":{{"key":"{device_id}{number:033}","signatures":{signatures}}}"#
        )
    });
    let one_time: Vec<String> = one_time.collect();
    format!(
        r#"{{"device_keys":{{"user_id":"{user_id}","device_id":"{device_id}","algorithms":["m.olm.v1.curve25519-aes-sha2","m.megolm.v1.aes-sha2"],"keys":{{"curve25519:{device_id}":"{device_id}","ed25519:{device_id}":"{device_id}"}},"signatures":{signatures}}},"one_time_keys":{{{}}}}}"#,
        one_time.join(",")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_json_of_their_device() {
        let credentials = Credentials {
            user_id: "@a:b".to_owned(),
            device_id: "D".to_owned(),
            access_token: String::new(),
        };
        let keys: serde_json::Value = serde_json::from_str(&keys_of(&credentials)).unwrap();
        assert_eq!(keys["device_keys"]["device_id"], "D");
        assert_eq!(
            keys["one_time_keys"].as_object().unwrap().len(),
            ONE_TIME_KEYS
        );
    }
}
