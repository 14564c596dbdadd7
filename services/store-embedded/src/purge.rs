//! Dropping what is dead, while the engine compacts.

use std::{panic::AssertUnwindSafe, sync::Arc};

use fjall::compaction::filter::{
    CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict,
};
use hanse_store::Kind;

use crate::{
    Clock,
    row::{self, Header, State},
};

/// How long the stamp of a deleted or expired row is kept, in milliseconds: a write with an older
/// stamp that arrives later than this would be seen. The log replays seconds, a day is ample.
pub const GRACE_MS: i64 = 24 * 60 * 60 * 1000;

/// Makes the filters of one keyspace.
pub(crate) struct Purge {
    clock: AssertUnwindSafe<Clock>,
    grace_ms: i64,
}

impl Purge {
    /// The filter for tables of a kind; `None` where nothing expires.
    pub(crate) fn of(kind: Kind, clock: &Clock) -> Option<Arc<dyn Factory>> {
        let grace_ms = match kind {
            Kind::Stamped => GRACE_MS,
            Kind::Once => 0,
            Kind::Cas => return None,
        };
        Some(Arc::new(Self {
            clock: AssertUnwindSafe(Arc::clone(clock)),
            grace_ms,
        }))
    }
}

impl Factory for Purge {
    fn name(&self) -> &'static str {
        "purge"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        let clock: &Clock = &self.clock;
        Box::new(Older {
            than_ms: clock().saturating_sub(self.grace_ms),
        })
    }
}

/// Drops what died at or before a time.
struct Older {
    than_ms: i64,
}

impl CompactionFilter for Older {
    fn filter_item(&mut self, item: ItemAccessor<'_>, _: &Context) -> CompactionFilterResult {
        let value = item.value()?;
        Ok(match row::peek_header(&value) {
            Some(header) if self.is_dead(header) => Verdict::Remove,
            // What does not read back is for the reader to report.
            _ => Verdict::Keep,
        })
    }
}

impl Older {
    fn is_dead(&self, header: Header) -> bool {
        match header.state {
            State::Live => false,
            State::Expires(at_ms) | State::Tombstone(at_ms) => at_ms <= self.than_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use fjall::{Database, Keyspace, KeyspaceCreateOptions};

    use super::*;

    /// Writes a row of each state, compacts at a time, and tells how many are left.
    fn left_after(kind: Kind, now_ms: i64) -> usize {
        let directory = tempfile::tempdir().unwrap();
        let clock_ms = Arc::new(AtomicI64::new(now_ms));
        let clock: Clock = Arc::new(move || clock_ms.load(Ordering::Relaxed));
        let db = Database::builder(directory.path())
            .with_compaction_filter_factories(Arc::new(move |_| Purge::of(kind, &clock)))
            .open()
            .unwrap();
        let rows: Keyspace = db.keyspace("rows", KeyspaceCreateOptions::default).unwrap();
        let states = [
            State::Live,
            State::Expires(1_000),
            State::Tombstone(1_000),
            State::Expires(i64::MAX),
        ];
        for (key, state) in states.into_iter().enumerate() {
            let header = Header {
                stamp: Some(1),
                state,
            };
            rows.insert([key as u8], row::encode(header, &[])).unwrap();
        }
        rows.rotate_memtable_and_wait().unwrap();
        rows.major_compact().unwrap();
        rows.iter().count()
    }

    #[test]
    fn stamps_stay_for_the_grace_and_go_then() {
        assert_eq!(left_after(Kind::Stamped, 1_000 + GRACE_MS - 1), 4);
        assert_eq!(left_after(Kind::Stamped, 1_000 + GRACE_MS), 2);
        assert_eq!(left_after(Kind::Once, 999), 4);
        assert_eq!(left_after(Kind::Once, 1_000), 2);
        assert_eq!(left_after(Kind::Cas, i64::MAX), 4);
    }
}
