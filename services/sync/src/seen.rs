//! Which memberships a device was given already, so that lazy loading does not repeat them ([spec]).
//! A cache: what it forgets is sent again, which clients allow for.
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#lazy-loading-room-members

use moka::sync::Cache;
use ruma::{DeviceId, EventId, OwnedEventId, RoomId, UserId};

/// Memberships remembered, over all devices.
const MEMBERS_MAX: u64 = 200_000;

/// What devices were given.
#[derive(Debug)]
pub(crate) struct SeenMembers {
    given: Cache<String, OwnedEventId>,
}

impl Default for SeenMembers {
    fn default() -> Self {
        Self {
            given: Cache::new(MEMBERS_MAX),
        }
    }
}

impl SeenMembers {
    /// Marks a membership event as given; `true` if it was not given before.
    pub(crate) fn give(
        &self,
        (user_id, device_id): (&UserId, &DeviceId),
        room_id: &RoomId,
        member: &str,
        event_id: &EventId,
    ) -> bool {
        let key = format!("{user_id}|{device_id}|{room_id}|{member}");
        if self.given.get(&key).is_some_and(|given| given == event_id) {
            return false;
        }
        self.given.insert(key, event_id.to_owned());
        true
    }
}
