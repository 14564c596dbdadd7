//! This process's lease, as it sees it itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hanse_log::Lease;
use hanse_runtime::Clock;
use tokio::sync::watch;

use crate::timing::HELD_FOR;

/// Until when the lease is held, by the monotonic clock, and how often it was gained.
#[derive(Debug)]
pub(crate) struct Tenancy {
    clock: Arc<dyn Clock>,
    until_us: AtomicU64,
    tenure: watch::Sender<u64>,
}

impl Tenancy {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            until_us: AtomicU64::new(0),
            tenure: watch::Sender::new(0),
        }
    }

    /// A renewal that was sent then has succeeded.
    pub(crate) fn renewed(&self, sent: Duration) {
        let gained = !self.is_held();
        let until = sent + HELD_FOR;
        self.until_us.store(micros(until), Ordering::Release);
        if gained {
            self.tenure.send_modify(|tenure| *tenure += 1);
        }
    }

    /// It is given up.
    pub(crate) fn end(&self) {
        self.until_us.store(0, Ordering::Release);
    }

    /// Counts how often the lease was gained, first of all or after it had lapsed. Whatever was
    /// known before is to be looked at again.
    pub(crate) fn tenure(&self) -> watch::Receiver<u64> {
        self.tenure.subscribe()
    }
}

impl Lease for Tenancy {
    fn is_held(&self) -> bool {
        micros(self.clock.monotonic()) < self.until_us.load(Ordering::Acquire)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use hanse_runtime::ManualClock;

    use super::*;
    use crate::timing::{MARGIN, TTL};

    fn tenancy() -> (ManualClock, Tenancy) {
        let clock = ManualClock::at_ms(0);
        clock.advance(Duration::from_secs(100));
        (clock.clone(), Tenancy::new(Arc::new(clock)))
    }

    /// Red if the lease counts from when the answer came, or for the whole TTL.
    #[test]
    fn it_is_held_from_the_sending_for_the_ttl_less_the_margin() {
        let (clock, tenancy) = tenancy();
        assert!(!tenancy.is_held());
        let sent = clock.monotonic();
        clock.advance(Duration::from_secs(1));
        tenancy.renewed(sent);
        clock.advance(Duration::from_micros(3_999_999));
        assert!(tenancy.is_held());
        clock.advance(Duration::from_micros(1));
        assert_eq!(clock.monotonic() + MARGIN, sent + TTL);
        assert!(!tenancy.is_held());
    }

    /// Red if a process that was frozen takes an answer for a lease, or forgets that it had lapsed.
    #[test]
    fn an_answer_after_a_freeze_gives_nothing_and_a_lapse_is_counted() {
        let (clock, tenancy) = tenancy();
        let tenure = || *tenancy.tenure().borrow();
        tenancy.renewed(clock.monotonic());
        clock.advance(Duration::from_secs(2));
        tenancy.renewed(clock.monotonic());
        assert_eq!(tenure(), 1);
        let sent = clock.monotonic();
        clock.advance(Duration::from_secs(10));
        tenancy.renewed(sent);
        assert!(!tenancy.is_held());
        tenancy.renewed(clock.monotonic());
        assert!(tenancy.is_held());
        assert!(tenure() > 1);
        tenancy.end();
        assert!(!tenancy.is_held());
    }
}
