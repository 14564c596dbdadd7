//! Which channel belongs to which slot.

use hanse_log::{Slot, SlotMap};
use hanse_runtime::config::Bus;

/// The longest name of a deployment, in bytes.
const DEPLOYMENT_BYTES_MAX: usize = Bus::DEPLOYMENT_BYTES_MAX;

/// The channels of a deployment.
#[derive(Clone, Debug)]
pub(crate) struct Channels {
    prefix: String,
    map: SlotMap,
}

impl Channels {
    /// The channels of a deployment; `None` if its name is no name. A brace would steer every
    /// channel of a cluster into one hash slot, and a glob or a space has no business in a name.
    pub(crate) fn new(deployment: &str, map: SlotMap) -> Option<Self> {
        let good = |letter: u8| letter.is_ascii_alphanumeric() || b"-._".contains(&letter);
        let length = 1..=DEPLOYMENT_BYTES_MAX;
        (length.contains(&deployment.len()) && deployment.bytes().all(good)).then(|| Self {
            prefix: format!("hanse:{deployment}:"),
            map,
        })
    }

    pub(crate) fn name(&self, slot: Slot) -> String {
        format!("{}{slot}", self.prefix)
    }

    /// The channel of what is ephemeral; no slot is called that.
    pub(crate) fn ephemeral(&self) -> String {
        format!("{}ephemeral", self.prefix)
    }

    pub(crate) fn slots(&self) -> Vec<String> {
        self.map.slots().map(|slot| self.name(slot)).collect()
    }

    /// Whether a message that says it is of `slot` may come from `channel`.
    pub(crate) fn is(&self, channel: &[u8], slot: Slot) -> bool {
        channel == self.name(slot).as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_has_a_channel_of_its_deployment() {
        let map = SlotMap::initial(16);
        let channels = Channels::new("prod-1.eu", map).unwrap();
        assert_eq!(channels.name(Slot(7)), "hanse:prod-1.eu:7");
        assert_eq!(channels.slots().len(), 16);
        assert!(!channels.slots().contains(&channels.ephemeral()));
        assert!(channels.is(b"hanse:prod-1.eu:7", Slot(7)));
        assert!(!channels.is(b"hanse:prod-1.eu:7", Slot(8)));
        let long = "x".repeat(DEPLOYMENT_BYTES_MAX + 1);
        for bad in ["", "{a}", "a b", "a:b", "*", long.as_str()] {
            assert!(Channels::new(bad, map).is_none(), "{bad}");
        }
    }
}
