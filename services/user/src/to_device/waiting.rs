//! How many messages wait for a device: so many, and no more. Who asks too seldom loses the newest
//! messages, not the oldest: those are the ones that what follows builds on.
//!
//! Rows are not counted for each message: a process counts them after it sent as many as would fit. So the
//! bound holds for what one process sends; of several each may fill it once.

use hanse_store::Range;
use moka::sync::Cache;
use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};

use crate::{
    Unavailable, Users,
    tables::inbox::{self, InboxRow},
};

/// Devices of which it is remembered how many more messages fit.
const DEVICES_MAX: u64 = 200_000;
/// Messages that a process sends to a device before it looks how many wait.
const UNCOUNTED_MAX: usize = 100;
/// How long a full inbox is not looked at again.
const FULL_FOR_MS: i64 = 10_000;

/// What is known of a device's inbox.
#[derive(Clone, Copy, Debug)]
enum Room {
    /// So many fit before it has to be counted.
    For(usize),
    /// It was full, and is not counted before then.
    FullUntil(i64),
}

/// What is known of inboxes. A cache: what it has forgotten is counted.
pub(crate) struct Waiting {
    room: Cache<(OwnedUserId, OwnedDeviceId), Room>,
}

impl Waiting {
    pub(crate) fn new() -> Self {
        Self {
            room: Cache::new(DEVICES_MAX),
        }
    }
}

impl Users {
    /// Whether one more message may wait for a device; it counts as sent.
    pub(super) async fn fits(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<bool, Unavailable> {
        let max = self.inner.config.to_device_waiting_max;
        let key = (user_id.to_owned(), device_id.to_owned());
        let waiting = &self.inner.waiting.room;
        let now_ms = self.now_ms();
        let room = match waiting.get(&key) {
            None => UNCOUNTED_MAX.min(max),
            Some(Room::For(0)) => self.room_in_inbox(user_id, device_id, max).await?,
            Some(Room::For(room)) => room,
            Some(Room::FullUntil(until_ms)) if now_ms < until_ms => 0,
            Some(Room::FullUntil(_)) => self.room_in_inbox(user_id, device_id, max).await?,
        };
        if let Some(left) = room.checked_sub(1) {
            waiting.insert(key, Room::For(left));
            return Ok(true);
        }
        if !matches!(waiting.get(&key), Some(Room::FullUntil(until_ms)) if now_ms < until_ms) {
            waiting.insert(key, Room::FullUntil(now_ms + FULL_FOR_MS));
        }
        metrics::counter!("hanse_user_to_device_dropped_total").increment(1);
        tracing::debug!(%user_id, %device_id, "too many messages wait for a device");
        Ok(false)
    }

    async fn room_in_inbox(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        max: usize,
    ) -> Result<usize, Unavailable> {
        let partition = inbox::partition(user_id.as_str(), device_id.as_str());
        let rows: Vec<InboxRow> = self.archive().range(partition, Range::all(), max).await?;
        Ok(max.saturating_sub(rows.len()))
    }
}
