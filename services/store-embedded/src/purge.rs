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
