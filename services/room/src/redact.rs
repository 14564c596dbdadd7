//! Redactions: the event, and what it does to its target.

use hanse_event::{Draft, Judged, Pdu, power, redact};
use hanse_proto::room::Redacted;
use ruma::{EventId, OwnedEventId, OwnedUserId, RoomId};
use serde::{Deserialize, Serialize};

use crate::{
    RoomError, Rooms, Sent, TimelineEvent,
    hot::Hot,
    receive::UNDER_WAY_MAX,
    rooms::{Change, Decided, Inner},
    tables::TransactionKey,
};

/// A client's wish to redact an event.
#[derive(Clone, Debug, Serialize, Deserialize)]
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

/// What an event does to another.
#[derive(Default)]
pub(crate) enum Effect {
    /// It is no redaction, or none that may be.
    #[default]
    Nothing,
    /// The target, pruned.
    Prunes(Redacted),
    /// The target is pruned when it comes.
    Awaits(OwnedEventId),
}

impl Effect {
    /// As an entry says it: the pruned target, and the awaited one's id.
    pub(crate) fn recorded(self) -> (Option<Redacted>, String) {
        match self {
            Self::Nothing => (None, String::new()),
            Self::Prunes(redacted) => (Some(redacted), String::new()),
            Self::Awaits(target) => (None, target.to_string()),
        }
    }
}

impl Rooms {
    /// Redacts an event: one's own, or anybody's with the power to.
    pub async fn redact(&self, room_id: &RoomId, redaction: Redaction) -> Result<Sent, RoomError> {
        self.change(room_id, Change::Redaction(redaction)).await
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
        let built = self
            .build_in(hot, Draft::redaction(sender, event_id, reason), None)
            .await?;
        let pruned =
            redact(&target.pdu, hot.rules, Some(&built.pdu)).map_err(RoomError::bad_content)?;
        if hot.under_way.len() >= UNDER_WAY_MAX {
            self.settle(hot).await?;
        }
        let effect = Effect::Prunes(redacted(&target, &pruned, bucket));
        let decided = self.accept(hot, built, transaction, effect).await?;
        // Only now: accepting it may have read the archives, which still have the event whole.
        self.prune_held(hot, &pruned);
        Ok(decided)
    }

    /// Forgets what an event was before it was pruned: whatever it authorises is judged by what the
    /// archives will hold.
    pub(crate) fn prune_held(&self, hot: &mut Hot, pruned: &Pdu) {
        hot.replace_held(pruned);
        self.bodies.invalidate(pruned.event_id());
        if pruned.is_state() {
            self.forks.forget(&hot.room_id);
            hot.pruned.push(pruned.event_id().to_owned());
            let judged = Judged::Usable(pruned.clone());
            hot.under_way.insert(pruned.event_id().to_owned(), judged);
        }
    }

    /// The event to redact, and its bucket. It may still be on its way: its row tells its place.
    pub(crate) async fn target(
        &self,
        hot: &Hot,
        event_id: &EventId,
    ) -> Result<(TimelineEvent, i64), RoomError> {
        let unknown = || RoomError::UnknownEvent {
            event_id: event_id.to_owned(),
        };
        if let Some(found) = self.shown(hot, event_id).await? {
            return Ok(found);
        }
        self.logs.barrier(hot.slot).await?;
        self.shown(hot, event_id).await?.ok_or_else(unknown)
    }

    /// An event at its place. An outlier that is taking its place just now has none yet.
    async fn shown(
        &self,
        hot: &Hot,
        event_id: &EventId,
    ) -> Result<Option<(TimelineEvent, i64)>, RoomError> {
        let place = self.reader.place(event_id).await?;
        let Some(place) = place.filter(|place| place.room_id == hot.room_id.as_str()) else {
            return Ok(None);
        };
        let (bucket, position) = (place.bucket, place.position);
        let event = self.reader.event_at(&hot.room_id, bucket, position);
        Ok(event.await?.map(|event| (event, bucket)))
    }
}

pub(crate) fn redacted(target: &TimelineEvent, pruned: &Pdu, bucket: i64) -> Redacted {
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
