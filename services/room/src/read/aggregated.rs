//! What relates to an event, aggregated for clients ([spec]).
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#aggregations-of-child-events

use hanse_event::client::{self, Unsigned};
use hanse_log::Position;
use hanse_store::{Direction, StoreError};
use ruma::{OwnedEventId, UserId, events::AnyTimelineEvent, serde::Raw};
use serde::{Deserialize, Serialize};

use super::{Lens, Related, RoomReader, TimelineEvent};

/// Most related events that an aggregation looks at; the newest count.
const AGGREGATED_MAX: usize = 500;

/// `unsigned.m.relations`.
#[derive(Debug, Default, Serialize)]
pub struct Aggregated {
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

impl TimelineEvent {
    /// Whether a redaction was left in the event: it relates to nothing any more.
    pub fn is_redacted(&self) -> bool {
        let unsigned = self.pdu.unsigned();
        unsigned.is_some_and(|unsigned| unsigned.get().contains("redacted_because"))
    }
}

impl RoomReader {
    /// The aggregation of what relates to an event up to a position, as `reader` may see it
    /// through `lens` (without one: all of it). `None` where nothing relates to it, and for events
    /// that are redacted or are themselves replacements.
    pub async fn aggregated(
        &self,
        event: &TimelineEvent,
        reader: &UserId,
        lens: Option<&Lens>,
        up_to: Position,
    ) -> Result<Option<Aggregated>, StoreError> {
        if event.is_redacted() {
            return Ok(None);
        }
        let (room_id, target) = (event.pdu.room_id(), event.pdu.event_id());
        let before = Position::from_packed(up_to.packed().saturating_add(1));
        let (start, back) = (Position::START, Direction::Backward);
        let mut newest = self
            .related(room_id, target, start, before, back, AGGREGATED_MAX)
            .await?;
        let seen = |event: &TimelineEvent| lens.is_none_or(|lens| lens.sees(event));
        newest.retain(|related| !related.event.is_redacted() && seen(&related.event));
        if newest.is_empty() {
            return Ok(None);
        }
        Ok(Some(Aggregated {
            replace: replacement(event, &newest).map(bare),
            thread: thread(event, &newest, reader),
            reference: references(&newest),
        }))
    }
}

fn thread(root: &TimelineEvent, newest: &[Related], reader: &UserId) -> Option<Thread> {
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
        current_user_participated: root.pdu.sender() == reader
            || senders.any(|sender| sender == reader),
    })
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
    let reference = |related: &Related| Reference {
        event_id: related.event.pdu.event_id().to_owned(),
    };
    let chunk: Vec<Reference> = references.map(reference).collect();
    (!chunk.is_empty()).then_some(References { chunk })
}

/// An event inside of an aggregation: without aggregations of its own.
fn bare(event: &TimelineEvent) -> Raw<AnyTimelineEvent> {
    client::timeline_event(&event.pdu, &Unsigned::default())
}
