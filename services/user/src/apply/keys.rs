//! The rows of end-to-end encryption: keys, and messages to devices.

use hanse_log::Position;
use hanse_proto::user::{
    DehydratedDevice, DeviceKeys, FallbackKey, KeysRemoved, OneTimeKeyClaimed, OneTimeKeysAdded,
    ToDevice, ToDeviceRemoved, ToDeviceSent,
};

use super::UserRows;
use crate::{
    TokenHash,
    tables::{
        claimed_key::{self, CLAIMED_KEYS},
        dehydrated_device::{self, DEHYDRATED_DEVICES},
        device_change::{self, DEVICE_CHANGES},
        device_keys::{self, DEVICE_KEYS},
        fallback_key::{self, FALLBACK_KEYS},
        inbox::{self, TO_DEVICE_INBOX},
        one_time_key::{self, ONE_TIME_KEYS},
        one_time_key_pool::{self, ONE_TIME_KEY_POOLS},
        to_device_transaction::{self, TO_DEVICE_TRANSACTIONS},
    },
};

impl UserRows<'_> {
    pub(super) fn device_keys(&mut self, keys: &DeviceKeys) {
        let key = device_keys::key(self.user_id, &keys.device_id);
        let values = device_keys::values(&keys.json, self.position);
        self.rows.put(&DEVICE_KEYS, key, values);
    }

    pub(super) fn one_time_keys_added(&mut self, added: &OneTimeKeysAdded) {
        let owner = (self.user_id, added.device_id.as_str());
        for added_key in &added.keys {
            let key = one_time_key::key(owner, &added.algorithm, self.position, &added_key.key_id);
            let values = one_time_key::values(&added_key.json);
            self.rows.put(&ONE_TIME_KEYS, key, values);
        }
        let first = match added.first_position {
            0 => self.position,
            packed => Position::from_packed(packed),
        };
        self.pool(&added.device_id, &added.algorithm, added.count, first);
    }

    pub(super) fn one_time_key_claimed(&mut self, claimed: &OneTimeKeyClaimed) {
        let owner = (self.user_id, claimed.device_id.as_str());
        let position = Position::from_packed(claimed.key_position);
        let key = one_time_key::key(owner, &claimed.algorithm, position, &claimed.key_id);
        self.rows.delete(&ONE_TIME_KEYS, key);
        let key = claimed_key::key(owner, &claimed.algorithm, &claimed.key_id);
        let values = claimed_key::values(TokenHash::from_bytes(&claimed.key_hash));
        self.rows
            .put_until(&CLAIMED_KEYS, key, values, claimed.expires_at_ms);
        self.pool(
            &claimed.device_id,
            &claimed.algorithm,
            claimed.count,
            position,
        );
    }

    pub(super) fn fallback_key(&mut self, fallback: &FallbackKey) {
        let key = fallback_key::key(self.user_id, &fallback.device_id, &fallback.algorithm);
        let (key_id, json) = (&fallback.key_id, &fallback.json);
        let values = fallback_key::values(key_id, json, fallback.used, self.position);
        self.rows.put(&FALLBACK_KEYS, key, values);
    }

    pub(super) fn keys_removed(&mut self, removed: &KeysRemoved) {
        let device_id = removed.device_id.as_str();
        for at in &removed.one_time_keys {
            let position = Position::from_packed(at.position);
            let owner = (self.user_id, device_id);
            let key = one_time_key::key(owner, &at.algorithm, position, &at.key_id);
            self.rows.delete(&ONE_TIME_KEYS, key);
        }
        for algorithm in &removed.pools {
            let key = one_time_key_pool::key(self.user_id, device_id, algorithm);
            self.rows.delete(&ONE_TIME_KEY_POOLS, key);
        }
        for algorithm in &removed.fallbacks {
            let key = fallback_key::key(self.user_id, device_id, algorithm);
            self.rows.delete(&FALLBACK_KEYS, key);
        }
    }

    pub(super) fn dehydrated_device(&mut self, device: &DehydratedDevice) {
        let key = dehydrated_device::key(self.user_id);
        if device.device_id.is_empty() {
            self.rows.delete(&DEHYDRATED_DEVICES, key);
        } else {
            let (device_id, data) = (&device.device_id, &device.device_data);
            let values = dehydrated_device::values(device_id, data, self.position);
            self.rows.put(&DEHYDRATED_DEVICES, key, values);
        }
    }

    pub(super) fn device_changed(&mut self) {
        let key = device_change::key(self.user_id);
        self.rows
            .put(&DEVICE_CHANGES, key, device_change::values(self.position));
    }

    pub(super) fn messages_sent(&mut self, sent: &ToDeviceSent) {
        let sender = (self.user_id, sent.device_id.as_str());
        let key = to_device_transaction::key(sender, &sent.event_type, &sent.txn_id, sent.part);
        let values = to_device_transaction::values(self.position);
        self.rows
            .put_until(&TO_DEVICE_TRANSACTIONS, key, values, sent.expires_at_ms);
    }

    pub(super) fn messages(&mut self, messages: &ToDevice) {
        for message in &messages.messages {
            for device_id in &message.device_ids {
                let key = inbox::key(self.user_id, device_id, self.position);
                let (sender, event_type) = (&messages.sender, &messages.event_type);
                let values = inbox::values(sender, event_type, &message.content);
                self.rows
                    .put_until(&TO_DEVICE_INBOX, key, values, messages.expires_at_ms);
            }
        }
    }

    pub(super) fn messages_removed(&mut self, removed: &ToDeviceRemoved) {
        for position in &removed.positions {
            let position = Position::from_packed(*position);
            let key = inbox::key(self.user_id, &removed.device_id, position);
            self.rows.delete(&TO_DEVICE_INBOX, key);
        }
    }

    fn pool(&mut self, device_id: &str, algorithm: &str, count: i64, first: Position) {
        let key = one_time_key_pool::key(self.user_id, device_id, algorithm);
        let values = one_time_key_pool::values(count, first, self.position);
        self.rows.put(&ONE_TIME_KEY_POOLS, key, values);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use hanse_proto::user::{DeviceChanged, DeviceMessage, OneTimeKey, OneTimeKeyRef, user_entry};

    use super::*;

    /// One of each kind, each of which writes something.
    pub(in super::super) fn kinds() -> Vec<user_entry::Kind> {
        use user_entry::Kind;
        vec![
            Kind::DeviceKeys(DeviceKeys::default()),
            Kind::OneTimeKeysAdded(OneTimeKeysAdded {
                keys: vec![OneTimeKey::default()],
                count: 1,
                ..OneTimeKeysAdded::default()
            }),
            Kind::OneTimeKeyClaimed(OneTimeKeyClaimed {
                key_position: 3,
                key_hash: TokenHash::of("k").to_vec(),
                ..OneTimeKeyClaimed::default()
            }),
            Kind::FallbackKey(FallbackKey::default()),
            Kind::KeysRemoved(KeysRemoved {
                one_time_keys: vec![OneTimeKeyRef::default()],
                ..KeysRemoved::default()
            }),
            Kind::DeviceChanged(DeviceChanged::default()),
            Kind::DehydratedDevice(DehydratedDevice {
                device_id: "D".to_owned(),
                device_data: "{}".to_owned(),
            }),
            Kind::DehydratedDevice(DehydratedDevice::default()),
            Kind::ToDeviceSent(ToDeviceSent::default()),
            Kind::ToDevice(ToDevice {
                messages: vec![DeviceMessage {
                    device_ids: vec!["D".to_owned()],
                    content: "{}".to_owned(),
                }],
                ..ToDevice::default()
            }),
            Kind::ToDeviceRemoved(ToDeviceRemoved {
                positions: vec![7],
                ..ToDeviceRemoved::default()
            }),
        ]
    }
}
