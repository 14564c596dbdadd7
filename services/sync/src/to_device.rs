//! Messages to the device that asks ([spec]), and their removal once it has acknowledged them: by
//! asking with the token that they came with.
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#send-to-device-messaging

use std::collections::HashSet;

use hanse_log::Position;
use moka::sync::Cache;
use parking_lot::Mutex;
use ruma::{
    OwnedDeviceId, OwnedUserId, api::client::sync::sync_events::v3::Response,
    events::AnyToDeviceEvent, serde::Raw,
};

use crate::{
    SyncError,
    ask::Ask,
    memory::Changed,
    token::SyncToken,
    worker::{Inner, SyncWorker},
};

/// Devices of which it is remembered what they have acknowledged.
const DEVICES_MAX: u64 = 200_000;

type Device = (OwnedUserId, OwnedDeviceId);

/// Up to where devices have acknowledged their messages, so that each is removed once. A cache: what it
/// has forgotten is looked for when the device asks again.
#[derive(Debug)]
pub(crate) struct Acknowledged {
    up_to: Cache<Device, Position>,
    /// Whose messages are being removed. One removal at a time: a second one would find, and remove
    /// again, what the first is at.
    removing: Mutex<HashSet<Device>>,
}

impl Default for Acknowledged {
    fn default() -> Self {
        Self {
            up_to: Cache::new(DEVICES_MAX),
            removing: Mutex::default(),
        }
    }
}

impl Acknowledged {
    /// Whether a device acknowledges anything by asking from a position on. Its tokens move on only
    /// with messages, so that a sync without any costs nothing here.
    fn is_news(&self, device: &Device, since: Position) -> bool {
        let known = self.up_to.get(device);
        if known.is_some_and(|known| since <= known) {
            return false;
        }
        self.up_to.insert(device.clone(), since);
        true
    }

    /// Whether a removal may begin; else the one under way takes over what is new.
    fn begin(&self, device: &Device) -> bool {
        self.removing.lock().insert(device.clone())
    }

    /// What a removal has to do next, having come up to a position. Nothing: it has ended.
    fn next(&self, device: &Device, removed: Position) -> Option<Position> {
        let mut removing = self.removing.lock();
        let next = self.up_to.get(device).filter(|up_to| *up_to > removed);
        if next.is_none() {
            removing.remove(device);
        }
        next
    }

    fn give_up(&self, device: &Device) {
        self.removing.lock().remove(device);
    }
}

impl SyncWorker {
    /// Removes what a request acknowledges, beside answering it.
    pub(crate) fn remove_acknowledged(&self, ask: &Ask) {
        let Some(since) = &ask.since else { return };
        let device = (ask.user_id.clone(), ask.device_id.clone());
        let acknowledged = &self.inner.acknowledged;
        if since.to_device == Position::START
            || !acknowledged.is_news(&device, since.to_device)
            || !acknowledged.begin(&device)
        {
            return;
        }
        let inner = self.inner.clone();
        self.inner.tasks.spawn("to-device-removal", async move {
            inner.remove_messages(&device).await;
        });
    }
}

impl Inner {
    async fn remove_messages(&self, device: &Device) {
        let mut removed = Position::START;
        while let Some(up_to) = self.acknowledged.next(device, removed) {
            let done = self.users.remove_to_device((&device.0, &device.1), up_to);
            if let Err(error) = done.await {
                // They go with what the device acknowledges next.
                tracing::warn!(%error, "acknowledged messages were not removed");
                return self.acknowledged.give_up(device);
            }
            removed = up_to;
        }
    }

    /// The messages that wait; the token says how far they go. The user's own slot is looked at once
    /// more, after everything else: no message that lets one read an event is later than it.
    pub(crate) async fn to_device(
        &self,
        ask: &Ask,
        token: &mut SyncToken,
        own_changed: Changed,
    ) -> Result<Vec<Raw<AnyToDeviceEvent>>, SyncError> {
        let own_slot = self.logs.slot_of(ask.user_id.as_str());
        let now = self.logs.applied(own_slot).max(token.own);
        let since = ask.since.as_ref();
        let after = since.map_or(Position::START, |since| since.to_device);
        token.to_device = after;
        let more_wait = since.is_some_and(|since| since.more_to_device);
        if own_changed == Changed::No && now == token.own && !more_wait {
            return Ok(Vec::new());
        }
        let device = (&*ask.user_id, &*ask.device_id);
        let page = self.users.to_device(device, after, now).await?;
        token.to_device = page.last.unwrap_or(after);
        token.more_to_device = page.more;
        Ok(page.events)
    }

    /// What every answer tells a device of its own keys: left out, they would count as none.
    pub(crate) async fn key_status(
        &self,
        ask: &Ask,
        response: &mut Response,
    ) -> Result<(), SyncError> {
        let keys = self.own_keys(ask).await?;
        let counts = keys.value.one_time_keys.iter();
        response.device_one_time_keys_count = counts
            .map(|(algorithm, count)| (algorithm.clone(), (*count).try_into().unwrap_or_default()))
            .collect();
        let unused = keys.value.unused_fallbacks.clone();
        response.device_unused_fallback_key_types = Some(unused);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ruma::{owned_device_id, owned_user_id};

    use super::*;

    fn device() -> Device {
        (owned_user_id!("@a:localhost"), owned_device_id!("D"))
    }

    fn at(seq: i64) -> Position {
        Position::new(seq, 0)
    }

    #[test]
    fn each_acknowledgement_is_news_once() {
        let acknowledged = Acknowledged::default();
        assert!(
            acknowledged.is_news(&device(), at(3)),
            "nothing is remembered"
        );
        assert!(!acknowledged.is_news(&device(), at(3)));
        assert!(acknowledged.is_news(&device(), at(6)));
        assert!(!acknowledged.is_news(&device(), at(5)), "an older token");
    }

    /// Sabotage: begin whenever there is news; or end without a look at what came meanwhile.
    #[test]
    fn one_removal_goes_on_with_what_is_acknowledged_meanwhile() {
        let acknowledged = Acknowledged::default();
        assert!(acknowledged.is_news(&device(), at(3)) && acknowledged.begin(&device()));
        assert_eq!(acknowledged.next(&device(), Position::START), Some(at(3)));
        assert!(acknowledged.is_news(&device(), at(6)) && !acknowledged.begin(&device()));
        assert_eq!(acknowledged.next(&device(), at(3)), Some(at(6)));
        assert_eq!(acknowledged.next(&device(), at(6)), None);
        assert!(acknowledged.is_news(&device(), at(9)) && acknowledged.begin(&device()));
        acknowledged.give_up(&device());
        assert!(acknowledged.begin(&device()), "one that failed is over");
    }
}
