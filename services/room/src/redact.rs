//! Redactions: the event, and what it does to its target.

use hanse_event::{Draft, Pdu, power, redact};
use hanse_proto::room::Redacted;
use ruma::{EventId, OwnedEventId, OwnedUserId, RoomId};

use crate::{
    RoomError, Rooms, Sent, TimelineEvent,
    hot::Hot,
    rooms::{Change, Decided, Inner},
    tables::TransactionKey,
};

/// A client's wish to redact an event.
#[derive(Clone, Debug)]
pub struct Redaction {
    /// Who redacts.
    pub sender: OwnedUserId,
    /// Which event.
    pub event_id: OwnedEventId,
    /// Why.
    pub reason: Option<String>,
    /// The client's transaction, if it named one.
    pub transaction: Option<TransactionKey>,
}

impl Rooms {
    /// Redacts an event: one's own, or anybody's with the power to.
    pub async fn redact(&self, room_id: &RoomId, redaction: Redaction) -> Result<Sent, RoomError> {
        self.change(room_id, &Change::Redaction(redaction)).await
    }
}

impl Inner {
    pub(crate) async fn decide_redaction(
        &self,
        hot: &mut Hot,
        redaction: Redaction,
    ) -> Result<Decided, RoomError> {
        let Redaction {
            sender,
            event_id,
            reason,
            transaction,
        } = redaction;
        if let Some(key) = &transaction
            && let Some(event_id) = self.repeated(hot, key).await?
        {
            return Ok(Decided::Already(event_id));
        }
        let (target, bucket) = self.target(hot, &event_id).await?;
        if !power::may_redact(&hot.power_levels()?, &sender, &target.pdu) {
            return Err(RoomError::forbidden("you may not redact this event"));
        }
        let pdu = self
            .build_in(hot, Draft::redaction(sender, event_id, reason), None)
            .await?;
        let pruned = redact(&target.pdu, hot.rules, Some(&pdu)).map_err(RoomError::bad_content)?;
        hot.replace_held(&pruned);
        let redacted = Some(redacted(&target, &pruned, bucket));
        Ok(self.accept(hot, &pdu, transaction, redacted))
    }

    /// The event to redact, and its bucket. It may still be on its way: its row tells its place.
    async fn target(
        &self,
        hot: &Hot,
        event_id: &EventId,
    ) -> Result<(TimelineEvent, i64), RoomError> {
        let unknown = || RoomError::UnknownEvent {
            event_id: event_id.to_owned(),
        };
        let mut place = self.reader.place(event_id).await?;
        if place.is_none() {
            self.logs.barrier(hot.slot).await?;
            place = self.reader.place(event_id).await?;
        }
        let place = place
            .filter(|p| p.room_id == hot.room_id.as_str())
            .ok_or_else(unknown)?;
        let event = self
            .reader
            .event_at(&hot.room_id, place.bucket, place.position)
            .await?;
        Ok((event.ok_or_else(unknown)?, place.bucket))
    }
}

fn redacted(target: &TimelineEvent, pruned: &Pdu, bucket: i64) -> Redacted {
    let previous = target.previous_event_id.as_ref();
    Redacted {
        event_id: pruned.event_id().to_string(),
        json: pruned.json().to_owned(),
        bucket,
        position: target.position.packed(),
        depth: pruned.depth() as i64,
        previous_event_id: previous.map(ToString::to_string).unwrap_or_default(),
    }
}
