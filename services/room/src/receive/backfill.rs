//! Backfill: older events, which take their place before what is known of the room's history.

use std::{collections::HashSet, ops::ControlFlow};

use hanse_event::{Judged, Pdu, auth_types_of, check_auth, check_by_auth_events};
use hanse_log::Position;
use hanse_proto::room::{Backfilled, Event, EventStatus, room_entry};
use ruma::{EventId, OwnedEventId, RoomId};

use super::{
    Arrived, BackfillEvents, Coming, Decision, Fate,
    fetched::{Fetched, check_fetched},
    forked::Before,
    handed::Handed,
    placing::after,
};
use crate::{
    DEPTH_BUCKET_BITS, RoomError, Rooms,
    entry::relation,
    hot::Hot,
    rooms::Inner,
    tables::{BucketKind, BucketRow, ROOM_BUCKETS, bucket_of_backfilled},
    written::Written,
};

impl Rooms {
    /// Takes older events, the oldest first: what is missing in a gap, and what is behind that. They
    /// appear in the room's history, and in no incremental sync; neither the current state nor the
    /// room's ends change.
    ///
    /// An event some of whose `prev_events` have not arrived is judged by the states that come with
    /// it; without any, by its auth events alone, and no state is known there. That nothing in the
    /// room leads to it makes it [`Fate::Unconnected`].
    pub async fn backfill(
        &self,
        room_id: &RoomId,
        events: Vec<Fetched>,
    ) -> Result<Vec<Arrived>, RoomError> {
        check_fetched(room_id, &events)?;
        let command = BackfillEvents {
            room_id: room_id.to_owned(),
            events: events.into_iter().map(Into::into).collect(),
        };
        self.routed(command).await
    }
}

impl Inner {
    /// The position of each event, if it is taken: below all that the room has, and those before
    /// others lower. Those to which nothing leads get none.
    pub(super) async fn plan_backfill(
        &self,
        hot: &mut Hot,
        handed: &Handed<'_>,
    ) -> Result<Vec<Option<Position>>, RoomError> {
        self.settle(hot).await?;
        let lowest = self.reader.lowest_position(&hot.room_id).await?.packed();
        let mut next = lowest;
        let mut positions = Vec::with_capacity(handed.events.len());
        let mut behind: HashSet<&EventId> = HashSet::new();
        for (pdu, _) in handed.events.iter().rev() {
            let id = pdu.event_id();
            let leads_here = behind.contains(id)
                || self.before_its_place(hot, id).await?.is_none()
                || !self.reader.gaps_without(&hot.room_id, id).await?.is_empty();
            if !leads_here {
                positions.push(None);
                continue;
            }
            behind.extend(pdu.prev_events().iter().map(|id| &**id));
            next -= 1;
            positions.push(Some(Position::from_packed(next)));
        }
        positions.reverse();
        Ok(positions)
    }

    pub(super) async fn backfill_one(
        &self,
        hot: &mut Hot,
        pdu: &Pdu,
        states: &[Vec<OwnedEventId>],
        position: Position,
    ) -> Result<Decision, RoomError> {
        // What lies before it may have come with it.
        self.settle(hot).await?;
        let mut coming = match self.coming(hot, pdu).await? {
            ControlFlow::Continue(coming) => coming,
            ControlFlow::Break(fate) => return Ok(Decision::nothing(fate)),
        };
        coming.fills = self
            .reader
            .gaps_without(&hot.room_id, pdu.event_id())
            .await?;
        let (chains, missing) = self.chains_of(hot, pdu.prev_events()).await?;
        let mut candidates: Vec<Before> = chains.into_iter().map(Before::of).collect();
        if !missing.is_empty() {
            match self.fetched(hot, states).await? {
                // Part of what lies before it is not the state before it.
                ControlFlow::Continue(fetched) if fetched.is_empty() => candidates.clear(),
                ControlFlow::Continue(fetched) => candidates.extend(fetched),
                ControlFlow::Break(fate) => return Ok(Decision::nothing(fate)),
            }
        }
        let is_known = missing.is_empty() || !candidates.is_empty();
        let before = if is_known {
            Some(self.before(hot, candidates).await?)
        } else {
            None
        };
        let gap = self.gap(missing).await?;
        let refused = self.refusal(hot, &coming, before.as_ref()).await?;
        let decision = match refused {
            None => self.take_older(hot, pdu, before.as_ref(), position).await?,
            Some(reason) => {
                self.hide_older(hot, pdu, before.as_ref(), (reason, position))
                    .await?
            }
        };
        Ok(decision.with(&coming, gap))
    }

    /// Why an older event is rejected: by its auth events, and by the state before it if that is
    /// known. The current state has no say.
    async fn refusal(
        &self,
        hot: &Hot,
        coming: &Coming<'_>,
        before: Option<&Before>,
    ) -> Result<Option<String>, RoomError> {
        let pdu = coming.pdu;
        if let Some(reason) = Self::second_create(hot, pdu) {
            return Ok(Some(reason));
        }
        let fetch = |id: &EventId| coming.auth_events.get(id).cloned();
        let mut allowed = check_by_auth_events(pdu, hot.rules, fetch);
        if let Some(before) = before.filter(|_| allowed.is_ok()) {
            let keys = auth_types_of(pdu, hot.rules).unwrap_or_default();
            let state = self.authorising(hot, keys, &before.view()).await?;
            allowed = check_auth(pdu, hot.rules, |event_type, state_key| {
                let key = (event_type.to_string(), state_key.to_owned());
                state.get(&key).cloned()
            });
        }
        Ok(allowed.err().map(|rejected| rejected.reason))
    }

    async fn take_older(
        &self,
        hot: &mut Hot,
        pdu: &Pdu,
        before: Option<&Before>,
        position: Position,
    ) -> Result<Decision, RoomError> {
        let event_state = match before {
            Some(before) => {
                let after = after(before, pdu);
                Some(self.event_state(hot, pdu, before, &after).await?)
            }
            None => None,
        };
        let depth = pdu.depth() as i64;
        let (redacted, awaited_target) = self.effect(hot, pdu).await?.recorded();
        let pruned = self.pruned_early(hot, pdu).await?;
        if let Some(pruned) = &pruned {
            self.prune_held(hot, pruned);
        }
        let kept = pruned.as_ref().unwrap_or(pdu);
        let event = Event {
            event_id: kept.event_id().to_string(),
            json: kept.json().to_owned(),
            status: EventStatus::Accepted.into(),
            depth,
            redacted,
            awaited_target,
            relation: relation(kept),
            bucket: bucket_of_backfilled(position),
            opens_bucket: self.opens_bucket(hot, position).await?,
            depth_bucket: depth >> DEPTH_BUCKET_BITS,
            opens_depth_bucket: self.opens_depth_bucket(hot, pdu).await?,
            event_state,
            ..Event::default()
        };
        let backfilled = Backfilled {
            event: Some(event),
            position: position.packed(),
        };
        let kind = room_entry::Kind::Backfilled(backfilled);
        let entry = hot.entry(self.clock.now_ms(), Vec::new(), kind);
        Ok(Decision::taken(hot, kept, Written::of(entry)))
    }

    async fn hide_older(
        &self,
        hot: &mut Hot,
        pdu: &Pdu,
        before: Option<&Before>,
        (reason, position): (String, Position),
    ) -> Result<Decision, RoomError> {
        let event_state = match before {
            Some(before) => Some(self.event_state(hot, pdu, before, &before.over).await?),
            None => None,
        };
        let event = Event {
            event_id: pdu.event_id().to_string(),
            json: pdu.json().to_owned(),
            status: EventStatus::Rejected.into(),
            depth: pdu.depth() as i64,
            bucket: bucket_of_backfilled(position),
            event_state,
            reason: reason.clone(),
            ..Event::default()
        };
        let backfilled = Backfilled {
            event: Some(event),
            position: position.packed(),
        };
        let kind = room_entry::Kind::Backfilled(backfilled);
        let written = Written::of(hot.entry(self.clock.now_ms(), Vec::new(), kind));
        let judged = Judged::Rejected(pdu.clone());
        hot.under_way.insert(pdu.event_id().to_owned(), judged);
        Ok(Decision {
            fate: Fate::Rejected { reason },
            written,
        })
    }

    async fn opens_bucket(&self, hot: &Hot, position: Position) -> Result<bool, RoomError> {
        let row = BucketRow {
            bucket: bucket_of_backfilled(position),
            first_position: 0,
        };
        let key = row.key(hot.room_id.as_str(), BucketKind::Arrival);
        Ok(self.reader.get(&ROOM_BUCKETS, &key).await?.is_none())
    }
}
