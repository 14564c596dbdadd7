//! Whether this process should get traffic.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// What `/ready` answers from: ready when every registered part is up and no drain has begun.
/// Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    parts: BTreeMap<&'static str, bool>,
    draining: bool,
}

impl Readiness {
    /// Registers a part that is not up yet.
    pub fn part(&self, name: &'static str) -> ReadyPart {
        self.state.lock().parts.insert(name, false);
        ReadyPart {
            name,
            readiness: self.clone(),
        }
    }

    /// True when requests are welcome.
    pub fn is_ready(&self) -> bool {
        self.missing().is_empty()
    }

    /// What keeps the process from being ready: names of parts, or `drain`.
    pub fn missing(&self) -> Vec<&'static str> {
        let state = self.state.lock();
        let down = state
            .parts
            .iter()
            .filter(|(_, up)| !**up)
            .map(|(name, _)| *name);
        state
            .draining
            .then_some("drain")
            .into_iter()
            .chain(down)
            .collect()
    }

    /// From now on never ready again.
    pub(crate) fn drain(&self) {
        self.state.lock().draining = true;
    }
}

/// One part's say in [`Readiness`].
#[derive(Debug)]
pub struct ReadyPart {
    name: &'static str,
    readiness: Readiness,
}

impl ReadyPart {
    /// Says whether the part can serve.
    pub fn set(&self, up: bool) {
        self.readiness.state.lock().parts.insert(self.name, up);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_needs_every_part_and_no_drain() {
        let readiness = Readiness::default();
        let (log, bus) = (readiness.part("log"), readiness.part("bus"));
        log.set(true);
        assert_eq!(readiness.missing(), ["bus"]);
        bus.set(true);
        assert!(readiness.is_ready());
        log.set(false);
        assert_eq!(readiness.missing(), ["log"]);
        log.set(true);
        readiness.drain();
        assert_eq!(readiness.missing(), ["drain"]);
    }
}
