//! The place of a judged event: its entry, and what it changes of the room.

use hanse_event::{Judged, Pdu};
use hanse_log::Position;
use hanse_proto::room::{EventState, EventStatus, StateChange};
use ruma::OwnedEventId;

use super::{Coming, Decision, Fate, forked::Before};
use crate::{
    DEPTH_BUCKET_BITS, RoomError,
    entry::{Circumstances, Place},
    graph::{Change, Graph, View, extended, record},
    hot::Hot,
    read::{Delta, StateKey},
    redact::Effect,
    rooms::Inner,
    tables::{BucketKind, BucketRow, ROOM_BUCKETS},
    written::Written,
};

/// Where an event goes, and what that changes of the current state besides.
struct Placed {
    place: Place,
    others: Vec<Change>,
}

impl Inner {
    /// Takes an accepted event from elsewhere in, wherever it stands.
    pub(super) async fn take_forked(
        &self,
        hot: &mut Hot,
        coming: &Coming<'_>,
        before: &Before,
    ) -> Result<Decision, RoomError> {
        let pdu = coming.pdu;
        let placed = self.place(hot, coming, before).await?;
        let circumstances = self.circumstances(self.effect(hot, pdu).await?);
        let pruned = self.pruned_early(hot, pdu).await?;
        let kept = pruned.as_ref().unwrap_or(pdu);
        let written = self.enter(hot, kept, placed, circumstances).await?;
        if let Some(pruned) = &pruned {
            self.prune_held(hot, pruned);
        }
        Ok(Decision::taken(hot, kept, written))
    }

    /// Takes an event of ours in that does not follow all of the room's ends.
    pub(crate) async fn take_ours_forked(
        &self,
        hot: &mut Hot,
        pdu: &Pdu,
        before: &Before,
        circumstances: Circumstances<'_>,
    ) -> Result<Written, RoomError> {
        let placed = self.place(hot, &Coming::of_ours(pdu), before).await?;
        self.enter(hot, pdu, placed, circumstances).await
    }

    /// The place of an accepted event: it becomes one of the room's ends, and the current state what
    /// the states at all ends are resolved to.
    async fn place(
        &self,
        hot: &mut Hot,
        coming: &Coming<'_>,
        before: &Before,
    ) -> Result<Placed, RoomError> {
        let pdu = coming.pdu;
        let after = after(before, pdu);
        let event_state = self.event_state(hot, pdu, before, &after).await?;
        let old_ends = ends(hot);
        let mut new_ends: Vec<OwnedEventId> = old_ends.clone();
        new_ends.retain(|end| !coming.begins_anew && !pdu.prev_events().contains(end));
        let view = View::of(&before.chain).with(&after);
        let is_end = !self.is_named(coming).await? || new_ends.is_empty();
        let changes = self
            .current_changes(hot, (&old_ends, &new_ends), coming, is_end.then_some(view))
            .await?;
        if is_end {
            new_ends.push(pdu.event_id().to_owned());
        }

        let (own, others): (Vec<Change>, Vec<Change>) = changes
            .into_iter()
            .partition(|change| change.value.as_deref() == Some(pdu.event_id()));
        let place = Place {
            state: self.own_change(hot, pdu, own.first()),
            forward_extremities: new_ends.iter().map(ToString::to_string).collect(),
            event_state: Some(event_state),
            opens_depth_bucket: self.opens_depth_bucket(hot, pdu).await?,
        };
        Ok(Placed { place, others })
    }

    /// The entries of an event at its place.
    async fn enter(
        &self,
        hot: &mut Hot,
        pdu: &Pdu,
        Placed { place, others }: Placed,
        circumstances: Circumstances<'_>,
    ) -> Result<Written, RoomError> {
        let others = self.with_bodies(hot, others).await?;
        hot.head.resolving = !others.is_empty();
        let mut written = Written::of(hot.accept_at(pdu, place, circumstances));
        self.resolve_to(hot, others, &mut written);
        Ok(written)
    }

    fn own_change(&self, hot: &Hot, pdu: &Pdu, change: Option<&Change>) -> Option<StateChange> {
        change.and_then(|_| hot.state_change(pdu, &self.server_name))
    }

    /// Whether an accepted event follows it already: then it is no end of the room.
    async fn is_named(&self, coming: &Coming<'_>) -> Result<bool, RoomError> {
        for gap in &coming.fills {
            let place = self.reader.place(&gap.event_id).await?;
            if place.is_some_and(|place| place.status == i32::from(EventStatus::Accepted)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What changes of the current state when an event takes the place of ends of the room; if it
    /// becomes one, with the state after it.
    async fn current_changes(
        &self,
        hot: &Hot,
        (old_ends, kept_ends): (&[OwnedEventId], &[OwnedEventId]),
        coming: &Coming<'_>,
        view: Option<View>,
    ) -> Result<Vec<Change>, RoomError> {
        let old = self.views_of(hot, old_ends).await?;
        let mut new = self.views_of(hot, kept_ends).await?;
        let more = view.filter(|view| !new.contains(view));
        new.extend(more);
        if new.len() == old.len() && new.iter().all(|view| old.contains(view)) {
            return Ok(Vec::new());
        }
        let current = View::linear(self.last_position(hot).await?);
        let graph = Graph {
            coming: (!coming.is_cited()).then_some(coming.pdu),
            ..self.graph(hot)
        };
        graph.changes(&new, &current).await
    }

    /// Keeps an event that is not shown, with its state: others may follow it.
    pub(super) async fn hide(
        &self,
        hot: &mut Hot,
        pdu: &Pdu,
        before: &Before,
        fate: Fate,
    ) -> Result<Decision, RoomError> {
        let (status, reason, state) = match &fate {
            Fate::SoftFailed { reason } => (EventStatus::SoftFailed, reason, after(before, pdu)),
            Fate::Rejected { reason } => (EventStatus::Rejected, reason, before.over.clone()),
            Fate::Accepted
            | Fate::Outlier
            | Fate::Known
            | Fate::Missing { .. }
            | Fate::Unconnected => return Ok(Decision::nothing(fate)),
        };
        let event_state = self.event_state(hot, pdu, before, &state).await?;
        let entry = hot.hide(
            pdu,
            (status, reason.clone()),
            event_state,
            self.clock.now_ms(),
        );
        hot.doubt(pdu.event_id());
        let judged = match status {
            EventStatus::Rejected => Judged::Rejected(pdu.clone()),
            _ => Judged::Usable(pdu.clone()),
        };
        hot.under_way.insert(pdu.event_id().to_owned(), judged);
        let written = Written::of(entry);
        Ok(Decision { fate, written })
    }

    /// A state as the entry of its event carries it.
    pub(super) async fn event_state(
        &self,
        hot: &Hot,
        pdu: &Pdu,
        before: &Before,
        over: &Delta,
    ) -> Result<EventState, RoomError> {
        let replaced = match state_key_of(pdu) {
            Some(key) => self.graph(hot).value(&before.view(), &key).await?,
            None => None,
        };
        let top = before.chain.nodes.last().map(|node| node.id.to_string());
        let (node, introduces) = if over.is_empty() {
            (top, None)
        } else {
            let (parent, values) = extended(&before.chain, over);
            let node = record(parent.as_ref(), &values);
            (Some(pdu.event_id().to_string()), Some(node))
        };
        Ok(EventState {
            base_position: before.chain.base.packed(),
            node: node.unwrap_or_default(),
            introduces,
            replaced: replaced.map(|id| id.to_string()).unwrap_or_default(),
        })
    }

    /// Where the room's last change stands. Everything decided before must be applied.
    pub(super) async fn last_position(&self, hot: &Hot) -> Result<Position, RoomError> {
        let head = self.reader.head(&hot.room_id).await?;
        Ok(head.map_or(Position::START, |head| head.position))
    }

    /// Whether an event is the first of its depth bucket. Depth is the peer's word, so that it is
    /// looked up unless the room's deepest event is in the same bucket.
    pub(super) async fn opens_depth_bucket(
        &self,
        hot: &mut Hot,
        pdu: &Pdu,
    ) -> Result<bool, RoomError> {
        let bucket = pdu.depth() as i64 >> DEPTH_BUCKET_BITS;
        if hot.head.events == 0 {
            return Ok(true);
        }
        if hot.head.depth >> DEPTH_BUCKET_BITS == bucket {
            return Ok(false);
        }
        self.settle(hot).await?;
        let row = BucketRow {
            bucket,
            first_position: 0,
        };
        let key = row.key(hot.room_id.as_str(), BucketKind::Depth);
        Ok(self.reader.get(&ROOM_BUCKETS, &key).await?.is_none())
    }

    pub(super) fn circumstances(&self, effect: Effect) -> Circumstances<'_> {
        Circumstances {
            now_ms: self.clock.now_ms(),
            server_name: &self.server_name,
            transaction: None,
            effect,
        }
    }
}

impl Decision {
    /// An accepted event.
    pub(super) fn taken(hot: &mut Hot, pdu: &Pdu, written: Written) -> Self {
        let judged = Judged::Usable(pdu.clone());
        hot.under_way.insert(pdu.event_id().to_owned(), judged);
        let fate = Fate::Accepted;
        Self { fate, written }
    }
}

pub(crate) fn ends(hot: &Hot) -> Vec<OwnedEventId> {
    let ends = hot.head.forward_extremities.iter();
    ends.filter_map(|end| OwnedEventId::try_from(end.as_str()).ok())
        .collect()
}

pub(super) fn state_key_of(pdu: &Pdu) -> Option<StateKey> {
    let state_key = pdu.state_key()?.to_owned();
    Some((pdu.type_name().to_owned(), state_key))
}

/// What the state after an accepted event changes on top of the chain before it.
pub(super) fn after(before: &Before, pdu: &Pdu) -> Delta {
    let mut over = before.over.clone();
    let own = state_key_of(pdu).map(|key| (key, Some(pdu.event_id().to_owned())));
    over.extend(own);
    over
}
