//! What clients have asked for and have no answer to.

use std::{
    fmt,
    ops::AddAssign,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Requests that a fault may fall into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A message into a room.
    Message,
    /// One-time keys to be taken.
    Upload,
    /// One-time keys to be handed out.
    Claim,
    /// A message to devices.
    ToDevice,
}

/// How many of each are under way.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    messages: AtomicUsize,
    uploads: AtomicUsize,
    claims: AtomicUsize,
    to_devices: AtomicUsize,
}

/// How many of each were under way at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct InFlight {
    messages: usize,
    uploads: usize,
    claims: usize,
    to_devices: usize,
}

/// A request counts while this lives.
#[derive(Debug)]
#[must_use]
pub(super) struct Counted<'a>(&'a AtomicUsize);

impl UnderWay {
    /// A request begins.
    pub(super) fn begin(&self, asked: Asked) -> Counted<'_> {
        let count = match asked {
            Asked::Message => &self.messages,
            Asked::Upload => &self.uploads,
            Asked::Claim => &self.claims,
            Asked::ToDevice => &self.to_devices,
        };
        count.fetch_add(1, Ordering::AcqRel);
        Counted(count)
    }

    pub(super) fn now(&self) -> InFlight {
        InFlight {
            messages: self.messages.load(Ordering::Acquire),
            uploads: self.uploads.load(Ordering::Acquire),
            claims: self.claims.load(Ordering::Acquire),
            to_devices: self.to_devices.load(Ordering::Acquire),
        }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl AddAssign for InFlight {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.uploads += other.uploads;
        self.claims += other.claims;
        self.to_devices += other.to_devices;
    }
}

impl fmt::Display for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            messages,
            uploads,
            claims,
            to_devices,
        } = self;
        write!(
            f,
            "{messages} messages, {uploads} key uploads, {claims} claims, {to_devices} messages to \
             devices on the way"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_counts_until_it_ends() {
        let under_way = UnderWay::default();
        let claim = under_way.begin(Asked::Claim);
        let mut counted = under_way.now();
        counted += under_way.now();
        drop(claim);
        assert_eq!(counted.claims, 2);
        assert_eq!(under_way.now(), InFlight::default());
    }
}
