//! Redactions from elsewhere, and what they redact: either may come first ([spec]).
//!
//! [spec]: https://spec.matrix.org/v1.16/rooms/v3/#handling-redactions

use hanse_event::{Pdu, power, redact};
use hanse_store::{Direction, Range};

use crate::{
    RoomError,
    hot::Hot,
    redact::{Effect, redacted},
    rooms::Inner,
    tables::{EarlyRedactionRow, ROOM_EARLY_REDACTIONS},
};

/// Redactions of one event that are looked at when it comes after them.
const EARLY_REDACTIONS_MAX: usize = 100;

impl Inner {
    /// What an event does if it is a redaction: nothing where its sender may not.
    pub(super) async fn effect(&self, hot: &mut Hot, pdu: &Pdu) -> Result<Effect, RoomError> {
        let Some(target_id) = pdu.redacts(&hot.rules.redaction) else {
            return Ok(Effect::Nothing);
        };
        let (target, bucket) = match self.target(hot, target_id).await {
            Ok(target) => target,
            Err(RoomError::UnknownEvent { .. }) => return Ok(Effect::Awaits(target_id.to_owned())),
            Err(error) => return Err(error),
        };
        if !power::redaction_takes_effect(&hot.power_levels()?, pdu, &target.pdu) {
            return Ok(Effect::Nothing);
        }
        // Until room version 10 nothing prunes a create event, whatever a peer sends.
        let Ok(pruned) = redact(&target.pdu, hot.rules, Some(pdu)) else {
            return Ok(Effect::Nothing);
        };
        self.prune_held(hot, &pruned);
        Ok(Effect::Prunes(redacted(&target, &pruned, bucket)))
    }

    /// What is left of an event that comes after a redaction of it; none, if all. Everything decided
    /// before must be applied.
    pub(super) async fn pruned_early(
        &self,
        hot: &Hot,
        pdu: &Pdu,
    ) -> Result<Option<Pdu>, RoomError> {
        let (room_id, target_id) = (&hot.room_id, pdu.event_id());
        let partition = EarlyRedactionRow::partition(room_id.as_str(), target_id.as_str());
        let page = self.reader.page(
            &ROOM_EARLY_REDACTIONS,
            partition,
            Range::all(),
            Direction::Forward,
            EARLY_REDACTIONS_MAX,
        );
        let page = page.await?;
        for row in &page.rows {
            let row = EarlyRedactionRow::read(row)?;
            let redaction = self.reader.event_at(room_id, row.bucket, row.position);
            let Some(redaction) = redaction.await? else {
                continue;
            };
            if power::redaction_takes_effect(&hot.power_levels()?, &redaction.pdu, pdu) {
                return Ok(redact(pdu, hot.rules, Some(&redaction.pdu)).ok());
            }
        }
        Ok(None)
    }
}
