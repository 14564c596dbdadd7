//! The current state follows what the states at the room's ends are resolved to.

use futures::{StreamExt, TryStreamExt, stream};
use hanse_event::Pdu;
use hanse_proto::room::{StateResolved, room_entry};
use ruma::OwnedEventId;

use super::placing::ends;
use crate::{
    RoomError,
    entry::Resolved,
    graph::{Change, View},
    hot::Hot,
    redact::Effect,
    rooms::Inner,
    written::Written,
};

/// Events that are read at once.
const READ_AT_ONCE: usize = 16;

/// A change with the events that hold the key afterwards and before.
pub(super) struct WithBodies {
    change: Change,
    value: Option<Pdu>,
    previous: Option<Pdu>,
}

impl Inner {
    /// Reads what the entries of changes need.
    pub(super) async fn with_bodies(
        &self,
        hot: &Hot,
        changes: Vec<Change>,
    ) -> Result<Vec<WithBodies>, RoomError> {
        let read = stream::iter(changes).map(|change| async {
            let value = self.body(hot, change.value.as_ref()).await?;
            let previous = self.body(hot, change.previous.as_ref()).await?;
            Ok(WithBodies {
                change,
                value,
                previous,
            })
        });
        read.buffered(READ_AT_ONCE).try_collect().await
    }

    async fn body(
        &self,
        hot: &Hot,
        event_id: Option<&OwnedEventId>,
    ) -> Result<Option<Pdu>, RoomError> {
        match event_id {
            Some(event_id) => self.graph(hot).pdu(event_id).await,
            None => Ok(None),
        }
    }

    /// Takes changes into the room's memory, and adds their entries to those that caused them.
    pub(super) fn resolve_to(
        &self,
        hot: &mut Hot,
        changes: Vec<WithBodies>,
        written: &mut Written,
    ) {
        let circumstances = self.circumstances(Effect::Nothing);
        let mut left = changes.len();
        for WithBodies {
            change,
            value,
            previous,
        } in changes
        {
            if written.is_full(self.portion_bytes_max) {
                written.go_on();
            }
            left -= 1;
            hot.head.resolving = left > 0;
            let (event_type, state_key) = &change.key;
            let resolved = Resolved {
                event_type,
                state_key,
                value,
                previous,
            };
            let entry = hot.resolve(resolved, &circumstances);
            let is_full = written.push(entry, self.portion_bytes_max);
            if is_full || left == 0 {
                written.close(&hot.head);
            }
        }
    }

    /// Goes on where an earlier owner, or this one, stopped between two batches.
    pub(crate) async fn resolve_on(&self, hot: &mut Hot) -> Result<(), RoomError> {
        metrics::counter!("hanse_room_resolutions_gone_on_with_total").increment(1);
        let states = self.views_of(hot, &ends(hot)).await?;
        let current = View::linear(self.last_position(hot).await?);
        let changes = self.graph(hot).changes(&states, &current).await?;
        let changes = self.with_bodies(hot, changes).await?;
        hot.head.resolving = !changes.is_empty();
        // The head again, now that it is known what is missing.
        let resolved = StateResolved {
            head: Some(hot.head.clone()),
            ..StateResolved::default()
        };
        let kind = room_entry::Kind::StateResolved(resolved);
        let mut written = Written::of(hot.entry(self.clock.now_ms(), Vec::new(), kind));
        self.resolve_to(hot, changes, &mut written);
        let submitted = self.submit(hot, written).await?;
        submitted.ticket.applied().await?;
        if submitted.whole {
            Ok(())
        } else {
            Err(hanse_log::AppendError::Stale.into())
        }
    }
}
