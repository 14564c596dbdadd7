//! A request in parts that each fit into a batch of the log. How it is split depends on the request
//! alone: a repeat has the same parts.

use std::collections::BTreeMap;

use ruma::{OwnedDeviceId, OwnedUserId, to_device::DeviceIdOrAllDevices};

use super::send::DeviceMessage;

/// Contents and ids in one part, unless one content alone is larger.
const PART_BYTES_MAX: usize = 48 * 1024;

/// Whom a message is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Recipients {
    One(OwnedDeviceId),
    /// All devices of the user but these, which get messages of their own.
    AllBut(Vec<OwnedDeviceId>),
}

/// One message of a part.
#[derive(Clone, Debug)]
pub(super) struct Message<'a> {
    pub(super) user_id: &'a OwnedUserId,
    pub(super) recipients: Recipients,
    pub(super) content: &'a str,
}

pub(super) type Part<'a> = Vec<Message<'a>>;

/// Splits a request. A message to all devices of a user has a part of its own: how many they are
/// is found out later.
pub(super) fn split<'a>(
    messages: &'a BTreeMap<OwnedUserId, BTreeMap<DeviceIdOrAllDevices, DeviceMessage>>,
) -> Vec<Part<'a>> {
    let mut parts: Vec<Part<'a>> = Vec::new();
    let (mut open, mut open_bytes) = (Part::new(), 0);
    for (user_id, by_device) in messages {
        for (device, content) in by_device {
            let content = content.json().get();
            let message = |recipients| Message {
                user_id,
                recipients,
                content,
            };
            match device {
                DeviceIdOrAllDevices::AllDevices => {
                    let named = by_device.keys().filter_map(named).collect();
                    parts.push(vec![message(Recipients::AllBut(named))]);
                }
                DeviceIdOrAllDevices::DeviceId(device_id) => {
                    let bytes = content.len() + device_id.as_str().len() + user_id.as_str().len();
                    if !open.is_empty() && open_bytes + bytes > PART_BYTES_MAX {
                        parts.push(std::mem::take(&mut open));
                        open_bytes = 0;
                    }
                    open_bytes += bytes;
                    open.push(message(Recipients::One(device_id.clone())));
                }
            }
        }
    }
    if !open.is_empty() {
        parts.push(open);
    }
    parts
}

fn named(device: &DeviceIdOrAllDevices) -> Option<OwnedDeviceId> {
    match device {
        DeviceIdOrAllDevices::DeviceId(device_id) => Some(device_id.clone()),
        DeviceIdOrAllDevices::AllDevices => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ruma::serde::Raw;
    use serde_json::{json, value::to_raw_value};

    use super::*;

    type Messages = BTreeMap<OwnedUserId, BTreeMap<DeviceIdOrAllDevices, DeviceMessage>>;

    fn content(bytes: usize) -> DeviceMessage {
        let content = json!({ "body": "x".repeat(bytes) });
        Raw::from_json(to_raw_value(&content).unwrap())
    }

    fn device() -> impl Strategy<Value = DeviceIdOrAllDevices> {
        prop_oneof![
            1 => Just(DeviceIdOrAllDevices::AllDevices),
            9 => "[A-Z]{1,4}".prop_map(|id| DeviceIdOrAllDevices::DeviceId(id.into())),
        ]
    }

    fn messages() -> impl Strategy<Value = Messages> {
        let of_user =
            prop::collection::btree_map(device(), (0usize..20_000).prop_map(content), 0..9);
        let user = "[a-z]{1,3}".prop_map(|name| format!("@{name}:b").try_into().unwrap());
        prop::collection::btree_map(user, of_user, 0..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn nothing_is_lost_doubled_or_too_large(messages in messages()) {
            let parts = split(&messages);
            let count: usize = messages.values().map(BTreeMap::len).sum();
            prop_assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), count);
            for part in &parts {
                let bytes: usize = part.iter().map(|message| message.content.len()).sum();
                prop_assert!(part.len() == 1 || bytes <= PART_BYTES_MAX);
                let wild = part.iter().any(|m| matches!(m.recipients, Recipients::AllBut(_)));
                prop_assert!(!wild || part.len() == 1);
            }
        }
    }
}
