//! Which memberships a device was given already, so that lazy loading does not repeat them ([spec]).
//! A cache: what it forgets is sent again, which clients allow for.
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#lazy-loading-room-members

use hanse_log::Position;
use moka::sync::Cache;
use ruma::{DeviceId, EventId, OwnedEventId, RoomId, UserId};

/// Memberships remembered, over all devices.
const MEMBERS_MAX: u64 = 200_000;

/// What devices were given.
#[derive(Debug)]
pub(crate) struct SeenMembers {
    given: Cache<String, Given>,
}

/// A membership event, and up to where the answer went that it was in.
#[derive(Clone, Debug)]
struct Given {
    event_id: OwnedEventId,
    at: Position,
}

impl Default for SeenMembers {
    fn default() -> Self {
        Self {
            given: Cache::new(MEMBERS_MAX),
        }
    }
}

impl SeenMembers {
    /// Marks a membership event as given with an answer for `(since, now]`; `true` if the client
    /// does not have it: it was never given, or the answer it was in did not arrive, which a token
    /// from before that answer tells.
    pub(crate) fn give(
        &self,
        (user_id, device_id): (&UserId, &DeviceId),
        room_id: &RoomId,
        member: (&str, &EventId),
        (since, now): (Option<Position>, Position),
    ) -> bool {
        let (member, event_id) = member;
        let key = format!("{user_id}|{device_id}|{room_id}|{member}");
        let has =
            |given: &Given| given.event_id == event_id && since.is_some_and(|s| s >= given.at);
        if self.given.get(&key).as_ref().is_some_and(has) {
            return false;
        }
        let event_id = event_id.to_owned();
        self.given.insert(key, Given { event_id, at: now });
        true
    }
}

#[cfg(test)]
mod tests {
    use ruma::{device_id, event_id, room_id, user_id};

    use super::*;

    #[test]
    fn a_lost_answer_is_given_again() {
        let seen = SeenMembers::default();
        let device = (user_id!("@a:localhost"), device_id!("D"));
        let member = ("@b:localhost", event_id!("$e:localhost"));
        let give = |since: i64, now: i64| {
            let at = (Some(Position::new(since, 0)), Position::new(now, 0));
            seen.give(device, room_id!("!r:localhost"), member, at)
        };
        assert!(give(1, 5), "never given");
        assert!(give(1, 6), "the same token again: the answer was lost");
        assert!(!give(6, 9), "acknowledged by a later token");
    }
}
