//! Messages to the device that asks ([spec]), and their removal once it has acknowledged them: by
//! asking with the token that they came with.
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#send-to-device-messaging

use hanse_log::Position;
use moka::sync::Cache;
use ruma::{
    DeviceId, OwnedDeviceId, OwnedUserId, UserId, api::client::sync::sync_events::v3::Response,
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

/// Up to where devices have acknowledged their messages, so that each is removed once. A cache: what it
/// has forgotten is looked for when the device asks again.
#[derive(Debug)]
pub(crate) struct Acknowledged {
    up_to: Cache<(OwnedUserId, OwnedDeviceId), Position>,
}

impl Default for Acknowledged {
    fn default() -> Self {
        Self {
            up_to: Cache::new(DEVICES_MAX),
        }
    }
}

impl Acknowledged {
    /// Whether a device acknowledges anything by asking from a position on. Its tokens move on only
    /// with messages, so that a sync without any costs nothing here.
    fn is_news(&self, (user_id, device_id): (&UserId, &DeviceId), since: Position) -> bool {
        let key = (user_id.to_owned(), device_id.to_owned());
        let known = self.up_to.get(&key);
        if known.is_some_and(|known| since <= known) {
            return false;
        }
        self.up_to.insert(key, since);
        true
    }
}

impl SyncWorker {
    /// Removes what a request acknowledges, beside answering it.
    pub(crate) fn remove_acknowledged(&self, ask: &Ask) {
        let Some(since) = &ask.since else { return };
        let (device, up_to) = ((&*ask.user_id, &*ask.device_id), since.to_device);
        if up_to == Position::START || !self.inner.acknowledged.is_news(device, up_to) {
            return;
        }
        let users = self.inner.users.clone();
        let (user_id, device_id) = (ask.user_id.clone(), ask.device_id.clone());
        self.inner.tasks.spawn("to-device-removal", async move {
            let device = (&*user_id, &*device_id);
            if let Err(error) = users.remove_to_device(device, up_to).await {
                // They go with what the device acknowledges next.
                tracing::warn!(%error, "acknowledged messages were not removed");
            }
        });
    }
}

impl Inner {
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
    use ruma::{device_id, user_id};

    use super::*;

    #[test]
    fn each_acknowledgement_is_news_once() {
        let acknowledged = Acknowledged::default();
        let device = (user_id!("@a:localhost"), device_id!("D"));
        let at = |seq| Position::new(seq, 0);
        assert!(acknowledged.is_news(device, at(3)), "nothing is remembered");
        assert!(!acknowledged.is_news(device, at(3)));
        assert!(acknowledged.is_news(device, at(6)));
        assert!(!acknowledged.is_news(device, at(5)), "an older token");
    }
}
