//! What relates to an event ([spec]), listed and aggregated.
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#forming-relationships-between-events

use hanse_event::client::{self, Unsigned};
use hanse_log::Position;
use hanse_room::{HistoryPoint, Related, TimelineEvent};
use hanse_store::Direction;
use ruma::{EventId, OwnedEventId, events::AnyTimelineEvent, serde::Raw};
use serde::{Deserialize, Serialize};

use super::RoomView;
use crate::error::ApiError;

/// Most related events that an aggregation looks at; the newest count.
const AGGREGATED_MAX: usize = 500;

/// `unsigned.m.relations`.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Aggregated {
    #[serde(rename = "m.replace", skip_serializing_if = "Option::is_none")]
    replace: Option<Raw<AnyTimelineEvent>>,
    #[serde(rename = "m.thread", skip_serializing_if = "Option::is_none")]
    thread: Option<Thread>,
    #[serde(rename = "m.reference", skip_serializing_if = "Option::is_none")]
    reference: Option<References>,
}

#[derive(Debug, Serialize)]
struct Thread {
    latest_event: Raw<AnyTimelineEvent>,
    count: usize,
    current_user_participated: bool,
}

#[derive(Debug, Serialize)]
struct References {
    chunk: Vec<Reference>,
}

#[derive(Debug, Serialize)]
struct Reference {
    event_id: OwnedEventId,
}

/// What an event says of its own relation.
#[derive(Debug, Default, Deserialize)]
struct Relates {
    #[serde(rename = "m.relates_to")]
    relates_to: Option<RelatesTo>,
}

#[derive(Debug, Deserialize)]
struct RelatesTo {
    rel_type: Option<String>,
}

impl RoomView {
    /// Related events that the user may see and that still relate, in `(after, before)`; and the
    /// last place that was looked at, if there may be more behind it.
    pub(crate) async fn related(
        &self,
        target: &EventId,
        after: Position,
        before: Position,
        direction: Direction,
        limit: usize,
    ) -> Result<(Vec<Related>, Option<HistoryPoint>), ApiError> {
        let found = self
            .reader()
            .related(self.room_id(), target, after, before, direction, limit);
        let mut found = found.await?;
        let last = found.last().filter(|_| found.len() == limit);
        let last = last.map(|last| last.event.history_point());
        found.retain(|related| !is_redacted(&related.event) && self.sees(&related.event));
        Ok((found, last))
    }

    /// The aggregation of what relates to an event; `None` where nothing does, and for events that
    /// are redacted or are themselves replacements.
    pub(super) async fn aggregated(
        &self,
        event: &TimelineEvent,
    ) -> Result<Option<Aggregated>, ApiError> {
        if is_redacted(event) {
            return Ok(None);
        }
        let (newest, _) = self
            .related(
                event.pdu.event_id(),
                Position::START,
                Position::END,
                Direction::Backward,
                AGGREGATED_MAX,
            )
            .await?;
        if newest.is_empty() {
            return Ok(None);
        }
        Ok(Some(Aggregated {
            replace: replacement(event, &newest).map(bare),
            thread: self.thread(event, &newest),
            reference: references(&newest),
        }))
    }

    fn thread(&self, root: &TimelineEvent, newest: &[Related]) -> Option<Thread> {
        let replies = || {
            newest
                .iter()
                .filter(|related| related.rel_type == "m.thread")
        };
        let latest = replies().next()?;
        let mut senders = replies().map(|reply| reply.event.pdu.sender());
        Some(Thread {
            latest_event: bare(&latest.event),
            count: replies().count(),
            current_user_participated: root.pdu.sender() == self.user_id()
                || senders.any(|sender| sender == self.user_id()),
        })
    }
}

/// Whether a redaction was left in the event: it relates to nothing any more.
pub(crate) fn is_redacted(event: &TimelineEvent) -> bool {
    event
        .pdu
        .unsigned()
        .is_some_and(|unsigned| unsigned.get().contains("redacted_because"))
}

/// The newest valid replacement ([spec]).
///
/// [spec]: https://spec.matrix.org/v1.16/client-server-api/#validity-of-replacement-events
fn replacement<'a>(original: &TimelineEvent, newest: &'a [Related]) -> Option<&'a TimelineEvent> {
    let relates: Relates = original.pdu.content_as().unwrap_or_default();
    let is_edit = relates.relates_to.and_then(|to| to.rel_type).as_deref() == Some("m.replace");
    if is_edit || original.pdu.is_state() {
        return None;
    }
    let mut edits = newest
        .iter()
        .filter(|related| related.rel_type == "m.replace");
    let valid = edits.find(|edit| {
        let edit = &edit.event.pdu;
        edit.sender() == original.pdu.sender() && edit.type_name() == original.pdu.type_name()
    });
    valid.map(|edit| &edit.event)
}

fn references(newest: &[Related]) -> Option<References> {
    let references = newest
        .iter()
        .rev()
        .filter(|related| related.rel_type == "m.reference");
    let chunk: Vec<Reference> = references
        .map(|related| Reference {
            event_id: related.event.pdu.event_id().to_owned(),
        })
        .collect();
    (!chunk.is_empty()).then_some(References { chunk })
}

/// An event inside of an aggregation: without aggregations of its own.
fn bare(event: &TimelineEvent) -> Raw<AnyTimelineEvent> {
    client::timeline_event(&event.pdu, &Unsigned::default())
}
