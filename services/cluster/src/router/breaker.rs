//! Members that give no answers are left alone for a while, so that not everybody waits for them.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;

/// So many calls without an answer, one after the other, and the member is left alone …
const SILENCES_MAX: u32 = 3;
/// … but for one call in each of these.
const LEFT_ALONE: Duration = Duration::from_secs(1);
/// Members that are remembered; more than a cluster has.
const MEMBERS_MAX: usize = 1_024;

/// Which members gave no answer last. Times are of the monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<BTreeMap<String, Silence>>);

#[derive(Debug, Default)]
struct Silence {
    calls: u32,
    until: Duration,
}

impl Breaker {
    /// Whether a member may be called now; if it gave no answers, by one call each while.
    pub(super) fn lets(&self, member: &str, now: Duration) -> bool {
        let mut silences = self.0.lock();
        let Some(silence) = silences.get_mut(member) else {
            return true;
        };
        if silence.calls < SILENCES_MAX {
            return true;
        }
        let lets = now >= silence.until;
        if lets {
            silence.until = now + LEFT_ALONE;
        }
        lets
    }

    /// It said something.
    pub(super) fn answered(&self, member: &str) {
        self.0.lock().remove(member);
    }

    /// There was no way to it: it is left alone at once.
    pub(super) fn unreachable(&self, member: &str, now: Duration) {
        self.failed(member, now, SILENCES_MAX);
    }

    /// It said nothing.
    pub(super) fn silent(&self, member: &str, now: Duration) {
        self.failed(member, now, 1);
    }

    fn failed(&self, member: &str, now: Duration, calls: u32) {
        let mut silences = self.0.lock();
        if silences.len() >= MEMBERS_MAX && !silences.contains_key(member) {
            silences.clear();
        }
        let silence = silences.entry(member.to_owned()).or_default();
        let before = silence.calls;
        silence.calls = before.saturating_add(calls);
        silence.until = now + LEFT_ALONE;
        if before < SILENCES_MAX && silence.calls >= SILENCES_MAX {
            metrics::counter!("hanse_cluster_members_left_alone_total").increment(1);
            tracing::warn!(member, "gives no answers, and is left alone for a while");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    /// Red if everybody goes on calling a member that does not answer, or nobody ever does again.
    #[test]
    fn a_silent_member_is_called_once_in_a_while() {
        let breaker = Breaker::default();
        for _ in 0..SILENCES_MAX {
            assert!(breaker.lets("b", NOW));
            breaker.silent("b", NOW);
        }
        assert!(!breaker.lets("b", NOW));
        assert!(breaker.lets("c", NOW), "another's silence");
        let later = NOW + LEFT_ALONE;
        assert!(breaker.lets("b", later));
        assert!(!breaker.lets("b", later), "one at a time");
        breaker.unreachable("c", NOW);
        assert!(!breaker.lets("c", NOW));
        breaker.answered("b");
        assert!(breaker.lets("b", later) && breaker.lets("b", later));
    }
}
